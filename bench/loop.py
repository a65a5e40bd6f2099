"""Trainer against a bare loop: what do schedules, checks, logs and callbacks cost?

Both train the same model on the same `Batches` with the same optimiser; the bare loop is forward, loss, backward, step and nothing else
(no schedule, no sums, no look for numbers that are not finite; the likelihood's check of the pixels, which the Trainer makes in the first
epoch, is off). The Trainer runs as it is used, with a line an epoch; its validation set is one image, so that almost only training is
timed. Images are random bytes: speed does not depend on what they show. Two models: an MLP, where a step is so short that overhead shows
most, and the convolutional network of preset mnist. Headline: images per second of the Trainer over those of the bare loop, the lower of
the two models.
"""
import os
from contextlib import redirect_stdout
from statistics import median
from time import perf_counter
import torch
from vae_nbdev.config import TrainConfig, VAEConfig, preset
from vae_nbdev.data import Batches
from vae_nbdev.tracking import Progress
from vae_nbdev.trainer import Trainer, make_optimizer
from vae_nbdev.vae import VAE
from common import alternate, parser, ratios, report, row, run

TARGET = 0.97
EPOCHS = 3
MLP = VAEConfig(image_size=28, architecture='mlp', width=400, depth=1, latent_dim=20)
MODELS = dict(mlp=(MLP, 16000), conv=(preset('mnist').model, 1280))

def make_batches(n):
    "`n` random images of MNIST's size in batches of 128, cut as preset mnist does."
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=noise)
    return Batches(images, batch_size=128, shuffle=True, binarize='dynamic')

def bare_loop(config, train, settings):
    "Seconds of the shortest loop that trains."
    torch.manual_seed(0)
    model, noise = VAE(config).train(), torch.Generator().manual_seed(0)
    model.likelihood.validate = False
    optimizer = make_optimizer(model, settings)
    start = perf_counter()
    for train.epoch in range(settings.num_epochs):
        for x,y in train:
            bound = model(x, y, noise)
            loss = bound.distortion.mean() + bound.rate.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return perf_counter() - start

def trainer_loop(config, train, settings):
    "Seconds of the Trainer for the same number of images."
    torch.manual_seed(0)
    valid = Batches(train.images[:1], binarize='threshold')
    trainer = Trainer(VAE(config), train, valid, settings, [Progress()])
    with open(os.devnull, 'w') as null, redirect_stdout(null):
        start = perf_counter()
        trainer.fit()
        return perf_counter() - start

def main(args):
    torch.set_flush_denormal(True) # as the commands do
    rows, lowest = [], None
    for name,(config, n) in MODELS.items():
        n = n//10 if args.quick else n
        train, settings = make_batches(n), TrainConfig(num_epochs=EPOCHS, batch_size=128, device='cpu')
        times = alternate(dict(bare=lambda: bare_loop(config, train, settings),
                               trainer=lambda: trainer_loop(config, train, settings)), args.repeats)
        pair = times['bare'], times['trainer']
        rows += [row(f'{name} {kind}', t, n*EPOCHS,
                     microseconds_a_step=median(t)/EPOCHS/len(train)*1e6) for kind,t in times.items()]
        rows[-1]['ratio'] = median(ratios(*pair))
        if lowest is None or rows[-1]['ratio'] < median(ratios(*lowest)): lowest = pair
    report('loop', lowest, TARGET, rows, write=not args.quick, epochs=EPOCHS, batch_size=128,
           what='images per second, Trainer over bare loop; the lower of two models')

if __name__ == '__main__': run(main, parser(__doc__, repeats=15))
