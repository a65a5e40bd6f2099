"""`Batches` against torchvision's MNIST, ToTensor and a DataLoader: how fast do batches come, without a model?

Both hand out the 60,000 training images in a new random order every epoch, as float32 in [0,1], 128 at a time, with their labels. The
peer is the usual recipe with 0, 1 and 2 worker processes. Times are seconds for an epoch; ours is the mean of 20 epochs in a row, since one is
over too soon. Headline: in each round, the fastest peer over ours. MNIST is looked for under VAE_NBDEV_DATA and not downloaded.
"""
from time import perf_counter
import torch
from torch.utils.data import DataLoader, Subset
from vae_nbdev.core import InputError
from vae_nbdev.data import Batches, data_root
from common import alternate, parser, report, row, run

TARGET = 40
EPOCHS = 20 # of ours in a measurement

def load_peer():
    "torchvision's MNIST, with the usual transform."
    from torchvision import datasets, transforms
    try: return datasets.MNIST(data_root(), train=True, transform=transforms.ToTensor())
    except RuntimeError: raise InputError(f'MNIST is not in {data_root()}: set VAE_NBDEV_DATA to the folder that holds MNIST/raw') from None

def epoch(loader):
    "Take every batch once; returns how many images there were."
    n = 0
    for x,y in loader: n += len(x)
    return n

def main(args):
    peer = load_peer()
    ours = Batches(peer.data[:,None], peer.targets, batch_size=128, shuffle=True)
    if args.quick: ours, peer = Batches(peer.data[:6000,None], peer.targets[:6000], batch_size=128, shuffle=True), Subset(peer, range(6000))
    for x,y in [next(iter(ours)), next(iter(DataLoader(peer, 128, shuffle=True)))]:
        assert x.shape == (128, 1, 28, 28) and x.dtype == torch.float32 and 0 <= x.min() and 0.9 < x.max() <= 1 and y.shape == (128,)
    def our_epochs():
        start = perf_counter()
        for ours.epoch in range(EPOCHS): assert epoch(ours) == len(peer)
        return (perf_counter() - start)/EPOCHS
    def peer_epoch(workers):
        loader = DataLoader(peer, batch_size=128, shuffle=True, num_workers=workers)
        return lambda: epoch(loader)
    names = {w: f'DataLoader, {w} workers' for w in (0, 1, 2)}
    times = alternate({'Batches': our_epochs} | {names[w]: peer_epoch(w) for w in names}, args.repeats)
    fastest = [min(round_) for round_ in zip(*(times[names[w]] for w in names))]
    report('data', (fastest, times['Batches']), TARGET, [row(name, t, len(peer)) for name,t in times.items()], write=not args.quick,
           what='seconds for an epoch, fastest DataLoader of the round over Batches', num_images=len(peer), batch_size=128)

if __name__ == '__main__': run(main, parser(__doc__))
