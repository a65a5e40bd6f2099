"""Faces from the autoencoder inside latent diffusion: `celeba-latent` first, then a flow on its codes, then the distance of samples from real faces.

Trains the preset `celeba-latent` in runs/study and goes on where it was stopped; fits a `latent_flow` prior to its codes and keeps it beside
the weights; draws sets of faces and measures their distance from real test faces as chapter 21 does, with the same features, beside other real
faces, reconstructions and N(0,I). What is done already is not done again. One thread; results/latents.json is written at the end of each part."""
import argparse, json, math, os
from time import perf_counter, process_time
import torch
from vae_nbdev.config import preset
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.latents import channel_stats
from vae_nbdev.priors import fit_prior, load_prior, make_prior, prior_gain, save_prior
from vae_nbdev.study import RandomFeatures, Study, frechet, make_faces, set_distance
from vae_nbdev.weights import read_notes
from common import RESULTS, Parser, command, run

RUN, TEMPERATURES = 'celeba-latent', (1., 1.02, 1.04, 1.06)

def first_stage(study, args):
    "The autoencoder, trained or loaded, with its numbers on test faces."
    config = preset('celeba-latent', num_epochs=args.epochs, seed=study.seed, mixed_precision='no')
    model, history = study.run(RUN, config)
    test = load_dataset('celeba', 'test', progress=False)
    parts, g = [], torch.Generator().manual_seed(study.seed)
    with torch.no_grad():
        for x, _ in Batches(test.images, None, 250):
            bound, recon = model(x, generator=g, with_recon=True)
            parts.append(torch.stack([bound.elbo, bound.rate, (recon - x).square().flatten(1).mean(1)]))
    elbo, rate, mse = torch.cat(parts, 1).mean(1).tolist()
    train = Batches(load_dataset('celeba', 'train', progress=False).images[:4096], None, 256)
    mean, std = channel_stats(model, train, torch.Generator().manual_seed(study.seed))
    study.record('first_stage', elbo=elbo, rate=rate, rmse=mse**0.5, sigma=float(model.likelihood.log_scale.detach().exp()), epochs=len(history),
                 minutes=study.seconds(RUN)/60, parameters=sum(p.numel() for p in model.parameters()), num_test=len(test),
                 num_train=len(load_dataset('celeba', 'train', progress=False)), code=list(model.latent_shape),
                 channel_mean=mean.flatten().tolist(), channel_std=std.flatten().tolist(), ran=command())
    return model

def flow_of(study, model, args):
    "The flow on its codes, fitted round by round or loaded, and what each round cost."
    path = study.runs/RUN/'prior_latent_flow.safetensors'
    wanted = dict(width=args.width, batch_size=64, learning_rate=1e-3, seed=study.seed)
    facts = read_notes(path) if path.exists() else {}
    rounds = facts['rounds'] if wanted.items() <= facts.items() else []
    if [r['epochs'] for r in rounds] != args.flow_epochs[:len(rounds)]: rounds = []
    shape, train = tuple(model.latent_shape), load_dataset('celeba', 'train', progress=False)
    batches = Batches(train.images[:64 if study.quick else None], None, wanted['batch_size'], shuffle=True, seed=study.seed)
    torch.manual_seed(study.seed)
    prior = load_prior(path, model) if rounds else make_prior('latent_flow', math.prod(shape), latent_shape=shape, width=args.width)
    for i, epochs in enumerate(args.flow_epochs[len(rounds):], len(rounds)):
        wall, cpu = perf_counter(), process_time()
        losses = fit_prior(model, prior, batches, epochs, wanted['learning_rate'], study.seed + i, progress=False)
        rounds.append(dict(epochs=epochs, minutes=(perf_counter() - wall)/60, core_minutes=(process_time() - cpu)/60, losses=losses))
        save_prior(prior, path, model, **wanted, rounds=rounds, parameters=sum(p.numel() for p in prior.parameters()))
        print(f'round {i + 1}: {epochs} epochs in {rounds[-1]["minutes"]:.1f} minutes, loss {losses[0]:.1f} to {losses[-1]:.1f}', flush=True)
    return load_prior(path, model), read_notes(path)

def distances(study, model, prior, args):
    "Set distance of samples and of others from real test faces, in the features of chapter 21."
    train, test = (load_dataset('celeba', s, progress=False) for s in ('train', 'test'))
    n = 16 if study.quick else 1000
    real = test.images[-n:]/255 # as in chapter 21
    judge, rows = RandomFeatures(real), {}
    def row(name, sets):
        if len(sets) > 1: value, error = set_distance(sets, real, judge)
        else: value, error = frechet(judge(sets[0]), judge(real)), 0.
        rows[name] = dict(value=value, error=error, sets=len(sets))
        print(f'{name}: {value:.2f} ± {error:.2f} ({len(sets)} sets)', flush=True)
    draws = range(args.repeats)
    def samples(steps, solver, sets=args.repeats, temperature=1., first=0):
        prior.steps, prior.solver = steps, solver
        return [model.images(prior.sample(n, torch.Generator().manual_seed(study.seed + first + i), None, temperature)) for i in range(sets)]
    others = [train.images[i::8][:n]/255 for i in range(8)]
    row('other real faces', others)
    row('reconstructions of other real faces', [model.reconstruct(x, generator=torch.Generator().manual_seed(i)) for i, x in enumerate(others[:4])])
    start = process_time()
    row('flow, 20 steps of Heun', samples(20, 'heun'))
    seconds = (process_time() - start)/args.repeats
    row('flow, 10 steps of Heun', samples(10, 'heun', 1))
    valid = load_dataset('celeba', 'valid', progress=False).images[:n]/255
    other_judge = RandomFeatures(valid) # a temperature is chosen by faces that judge nothing else
    found = {t: frechet(other_judge(samples(10, 'heun', 1, t, 100)[0]), other_judge(valid)) for t in TEMPERATURES}
    print({t: f'{v:.2f}' for t, v in found.items()}, flush=True)
    warm = min(found, key=found.get)
    row(f'flow, 20 steps of Heun, temperature {warm:g}', samples(20, 'heun', args.repeats, warm))
    row('flow, 5 steps of Heun', samples(5, 'heun', 1))
    row('flow, 20 steps of Euler', samples(20, 'euler', 1))
    prior.steps, prior.solver = 20, 'heun'
    row('N(0,I)', [model.sample(n, generator=torch.Generator().manual_seed(study.seed + i)) for i in draws])
    ratio = beside(rows)
    study.record('distance', rows=rows, num_images=n, core_seconds_per_set=seconds, ran=command(), temperature=warm,
                 by_temperature={f'{t:g}': v for t, v in found.items()},
                 ratio=ratio, target=0.5)

def beside(rows):
    "Add the best sampler of chapter 21, as it is recorded; gives the flow's distance as a share of its."
    contest = json.loads((RESULTS/'celeba.json').read_text())['contest']
    other = contest['verdicts']['celeba-wide']['mixture of 10 Gaussians']
    rows['celeba-wide, mixture of 10 Gaussians (chapter 21)'] = dict(value=other['features'], error=other['features_error'], sets=contest['num_sets'])
    return rows['flow, 20 steps of Heun']['value']/other['features']

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if args.quick:
        os.environ['VAE_NBDEV_STUDY'], args.flow_epochs = 'quick', [1, 1]
        os.environ['VAE_NBDEV_DATA'] = str(make_faces(Study('latents').home/'data', (128, 16, 64)))
    study = Study('latents')
    model = first_stage(study, args)
    prior, facts = flow_of(study, model, args)
    rounds, numbers = facts['rounds'], math.prod(model.latent_shape)
    study.record('flow', epochs=[r['epochs'] for r in rounds], minutes=sum(r['minutes'] for r in rounds), parameters=facts['parameters'],
                 core_minutes=sum(r['core_minutes'] for r in rounds), loss=rounds[-1]['losses'][-1]/numbers,
                 first_loss=rounds[0]['losses'][0]/numbers, width=facts['width'], batch_size=facts['batch_size'], ran=command())
    distances(study, model, prior, args)
    with torch.no_grad():
        test = Batches(load_dataset('celeba', 'test', progress=False).images[:200], None, 100)
        gain = prior_gain(model, prior, test, study.seed)
    study.record('nats', **{k: dict(value=e.value, error=e.error) for k, e in gain.items()}, num_images=200, ran=command())
    print({k: f'{e.value:.1f} ± {e.error:.1f}' for k, e in gain.items()})

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--epochs', type=int, default=8, help='passes of the first stage')
    p.add_argument('--flow_epochs', type=int, nargs='+', default=[30], help='passes of the flow, round by round; the step size falls to zero in each')
    p.add_argument('--width', type=int, default=64, help="channels of the flow's network")
    p.add_argument('--repeats', type=int, default=4, help='sets that are drawn from the flow')
    p.add_argument('--quick', action='store_true', help='a few drawn faces; nothing is kept')
    run(main, p)
