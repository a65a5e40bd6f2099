"""Faces from the autoencoder inside latent diffusion: `celeba-latent` first, then a flow on its codes, then the distance of samples from real faces.

Trains the preset `celeba-latent` in runs/study and goes on where it was stopped; fits a `latent_flow` prior to its codes and keeps it beside
the weights; draws sets of faces and measures their distance from real test faces as chapter 21 does, with the same features, beside other real
faces, reconstructions and N(0,I). What is done already is not done again. One thread; results/latents.json is written at the end of each part."""
import argparse, json, math
from pathlib import Path
from time import perf_counter, process_time
import torch
from vae_nbdev.config import preset
from vae_nbdev.core import check_range
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.priors import fit_prior, load_prior, make_prior, save_prior
from vae_nbdev.study import Study
from vae_nbdev.vae import VAE
from vae_nbdev.weights import read_notes
from common import Parser, run

RUN = 'celeba-latent'

def first_stage(study, args):
    "The autoencoder, trained or loaded."
    config = preset('celeba-latent', num_epochs=args.epochs, seed=study.seed, mixed_precision='no')
    model, history = study.run(RUN, config)
    return model, history

def flow_of(study, model, args):
    "The flow on its codes, fitted or loaded, and what the fit cost."
    path = study.runs/RUN/'prior_latent_flow.safetensors'
    wanted = dict(width=args.width, num_epochs=args.flow_epochs, batch_size=64, learning_rate=1e-3, seed=study.seed)
    facts = read_notes(path) if path.exists() else {}
    if wanted.items() <= facts.items(): return load_prior(path, model), facts
    train = load_dataset('celeba', 'train', progress=False)
    batches = Batches(train.images[:64 if study.quick else None], None, wanted['batch_size'], shuffle=True, seed=study.seed)
    torch.manual_seed(study.seed)
    prior = make_prior('latent_flow', math.prod(model.latent_shape), latent_shape=model.latent_shape, width=args.width)
    wall, cpu = perf_counter(), process_time()
    history = fit_prior(model, prior, batches, args.flow_epochs, wanted['learning_rate'], study.seed, progress=False)
    facts = wanted | dict(minutes=(perf_counter() - wall)/60, core_minutes=(process_time() - cpu)/60,
                          parameters=sum(p.numel() for p in prior.parameters()), losses=history)
    save_prior(prior, path, model, **facts)
    return load_prior(path, model), facts

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    study = Study('latents')
    model, history = first_stage(study, args)
    prior, facts = flow_of(study, model, args)
    print(facts)

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--epochs', type=int, default=8, help='passes of the first stage')
    p.add_argument('--flow_epochs', type=int, default=30, help='passes of the flow')
    p.add_argument('--width', type=int, default=64, help="channels of the flow's network")
    p.add_argument('--repeats', type=int, default=8, help='sets that are drawn')
    p.add_argument('--quick', action='store_true', help='a few drawn faces; nothing is kept')
    run(main, p)
