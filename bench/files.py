"""A folder of small files through `load_dataset` against torchvision's ImageFolder and a DataLoader: how long until every image has been a float?

50,000 JPEG files of 64×64 pixels in ten class folders are made in a temporary folder and read in turn: by ImageFolder with Resize, CenterCrop and ToTensor
and a DataLoader with 0, 1 and 2 worker processes, which decode them anew in every epoch; by the folder loader the first time, when it decodes all of them into its cache, and once more from
the cache. Each of them ends with one epoch of shuffled batches of 128 with labels, float32 in [0,1]. The files have just been written, so that
the disk plays no part. Headline: the fastest peer over our first time; the ratio from the cache stands before it.
"""
import os, shutil, tempfile
from pathlib import Path
import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from vae_nbdev.data import Batches, load_dataset
from common import alternate, headline, parser, ratios, report, row, run, spread

TARGET, SIZE, CLASSES = 1., 64, 10

def make_files(folder, n):
    "Ramps of colour with some noise, `n` of them, in class folders."
    rng, ramp = np.random.default_rng(0), np.linspace(0, 1, SIZE)
    for i in range(n):
        there = folder/f'class_{i % CLASSES}'
        if i < CLASSES: there.mkdir(parents=True)
        a, b = rng.uniform(0, 255, (2, 3))
        image = ramp[:,None,None]*a + (1 - ramp)[None,:,None]*b + rng.normal(0, 5, (SIZE, SIZE, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(there/f'{i:06d}.jpg', quality=90)

def epoch(batches):
    "Take every batch once; returns how many images there were, and their mean."
    n = total = 0
    for x,y in batches: n, total = n + len(x), total + x.mean().item()*len(x)
    return n, total/n

def peer(folder, workers):
    "torchvision's usual way."
    from torchvision import datasets, transforms
    change = transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()])
    return epoch(DataLoader(datasets.ImageFolder(folder, change), batch_size=128, shuffle=True, num_workers=workers))

def ours(folder):
    "All images of the folder, with their labels."
    found = load_dataset('folder', 'all', folder, SIZE, progress=False)
    return epoch(Batches(found.images, found.labels, batch_size=128, shuffle=True))

def main(args):
    n = 1000 if args.quick else 50_000
    with tempfile.TemporaryDirectory() as tmp:
        folder, cache = Path(tmp)/'images', Path(tmp)/'cache'
        os.environ['VAE_NBDEV_CACHE'] = str(cache)
        make_files(folder, n)
        (num, mean), (peer_num, peer_mean) = ours(folder), peer(folder, 0)
        assert num == peer_num == n and abs(mean - peer_mean) < 1e-4, 'both must read the same pixels'
        def first():
            shutil.rmtree(cache)
            ours(folder)
        names = {w: f'ImageFolder, {w} workers' for w in (0, 1, 2)}
        times = alternate({'folder, first time': first} | {names[w]: lambda w=w: peer(folder, w) for w in names}, args.repeats, warmup=0)
        times |= alternate({'folder, from the cache': lambda: ours(folder)}, args.repeats, warmup=0)
    fastest = [min(round_) for round_ in zip(*(times[names[w]] for w in names))]
    cached = ratios(fastest, times['folder, from the cache'])
    report('files', (fastest, times['folder, first time']), TARGET, [row(name, t, n) for name,t in times.items()], write=not args.quick,
           packages=('pillow',), before=[f'from the cache: {headline(cached, TARGET)}'], what='seconds from files to one epoch of batches, fastest ImageFolder over ours',
           from_cache=spread(cached), num_images=n, batch_size=128)

if __name__ == '__main__': run(main, parser(__doc__, repeats=1))
