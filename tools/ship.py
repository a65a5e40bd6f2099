"""Put a trained run into the package: `python tools/ship.py runs/study/mnist mnist`.

Copies weights and settings to vae_nbdev/pretrained/NAME and writes the model card from the run and from results/mnist.json. With --entry, the model is one
of the speed run, `python tools/ship.py runs/speedrun/flow mnist-flow --entry 'flow 46'`: its card comes from results/speedrun.json, its weights are kept in 16 bits."""
import argparse, json, sys
from pathlib import Path
from vae_nbdev.config import load_config
from vae_nbdev.core import write_whole
from vae_nbdev.serve import half_copy
from vae_nbdev.tracking import read_history
from vae_nbdev.vae import VAE

ROOT = Path(__file__).resolve().parent.parent
CARD = """---
library_name: vae_nbdev
pipeline_tag: unconditional-image-generation
tags: [vae, variational-autoencoder, mnist]
license: apache-2.0
---

# {name}

{what} It comes with the package: `VAE.from_pretrained('{name}')`, or `vae_generate{flags}`.

| | |
|---|---|
| data | MNIST (LeCun, Cortes & Burges): 55,000 images to train on, 5,000 to choose the epoch by, split with seed {split_seed}; pixels binarised dynamically |
| objective | the ELBO, beta 1: Bernoulli likelihood, one layer of {latent_dim} Gaussian latents |
| size | {params:,} parameters, float32 |
| command | `vae_train {name} --preset {name}`: {epochs} epochs, seed {seed}{minutes} |
| validation | ELBO {elbo:.2f} nats per image{given}, epoch {epoch} of the history{nll} |
| limits | draws digits of 28×28 pixels and nothing else; its blurs are those of a factorised likelihood |
"""

def card(run, name):
    "The text of the model card."
    config, history = load_config(run/'config.json'), read_history(run/'history.csv')
    best = max(history, key=lambda h: h['valid_elbo'])
    results = json.loads((ROOT/'results/mnist.json').read_text()) if (ROOT/'results/mnist.json').exists() else {}
    spent, nll = results.get('training', {}).get('runs', {}).get(name), results.get('nll', {}).get('nll') if name == 'mnist' else None
    labels = config.model.decoder_labels
    return CARD.format(
        name=name, what='A VAE of handwritten digits, told the class it is to draw.' if labels else 'A VAE of handwritten digits.', flags=' --labels 7' if labels else '',
        split_seed=config.data.split_seed, latent_dim=config.model.latent_dim, params=sum(p.numel() for p in VAE(config.model).parameters()), epochs=config.train.num_epochs,
        seed=config.train.seed, minutes=f", {spent['minutes']:.0f} minutes on two CPU cores" if spent else '', elbo=best['valid_elbo'], epoch=best['epoch'],
        given=', a bound on log p(x|y)' if labels else '', nll=f"; NLL {nll['value']:.2f} ± {nll['error']:.2f} nats on the 10,000 test images, importance sampling with K = 1000 (results/mnist.json)" if nll else '')

ENTRY_CARD = CARD.split('| objective')[0].replace('55,000 images to train on, 5,000 to choose the epoch by, split with seed {split_seed}', '55,000 images to train on') + """| objective | the ELBO, beta 1: Bernoulli likelihood, one layer of {latent_dim} latents; its prior is a flow that was trained with it |
| size | {params:,} parameters, kept as 16-bit floats |
| command | `{command}`: {minutes:.0f} core-minutes, {steps:,} steps, seed {seed} |
| test | NLL {nll:.2f} ± {error:.2f} nats on the 10,000 test images, importance sampling with K = {k} (results/speedrun.json, `shipped`) |
| a second prior | `prior_mixture.safetensors`: 200 Gaussians, fitted to its codes by `vae_fit_prior {name} --prior mixture --components 200 --learning_rate 0.004`. `vae_generate` draws from it: a less probable model, and more digits that can be read |
| limits | draws digits of 28×28 pixels and nothing else |
"""

def entry_card(name, entry):
    "The text of the card of a model of the speed run, whose numbers are set aside: the entry may be run again."
    path, model = ROOT/'results/speedrun.json', VAE.from_pretrained(str(ROOT/'vae_nbdev/pretrained'/name))
    numbers = json.loads(path.read_text())
    e = numbers['entries'][entry]
    numbers.setdefault('shipped', {})[name] = e
    with write_whole(path) as tmp: tmp.write_text(json.dumps(numbers, indent=1) + '\n', encoding='utf-8')
    return ENTRY_CARD.format(name=name, what='A VAE of handwritten digits whose prior was trained with it.', flags='', latent_dim=model.config.latent_dim,
        params=e['parameters'], command=e['command'].split(' --folder')[0], minutes=e['core_minutes'], steps=e['steps'], seed=e['seed'], nll=e['nll'], error=e['nll_error'], k=e['k'])

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of a finished run')
    parser.add_argument('name', help='name of the shipped model')
    parser.add_argument('--entry', help='its name in results/speedrun.json')
    args = parser.parse_args()
    if not (args.run/'model.safetensors').exists(): sys.exit(f'{args.run} holds no trained run')
    folder = ROOT/'vae_nbdev/pretrained'/args.name
    folder.mkdir(parents=True, exist_ok=True)
    if args.entry: half_copy(str(args.run), folder)
    else:
        for file in 'model.safetensors', 'config.json': (folder/file).write_bytes((args.run/file).read_bytes())
    text = entry_card(args.name, args.entry) if args.entry else card(args.run, args.name)
    (folder/'README.md').write_text(text, encoding='utf-8')
    print(f'{folder}: {sum(p.stat().st_size for p in folder.iterdir())/1e6:.2f} MB')
