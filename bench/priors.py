"""What does a learned prior give the shipped `mnist` model? ELBO and NLL under N(0,I), a mixture, a flow and flow matching.

Each prior is fitted to codes of the dynamically binarised training images, the model's weights untouched, once for each seed. The ELBO is over all
10,000 test images, one draw each; the NLL over every 20th of them with K draws. All priors weigh the same images and the same draws, so that
differences are paired. `--keep KIND` writes the prior of the first seed beside the shipped weights. One thread; results/priors.json is
written after each seed. Kinds that are not asked for keep the numbers that they have there, which were measured on the same images and draws."""
import argparse, json, math
from datetime import date
from statistics import mean
from time import perf_counter
import torch
from vae_nbdev.core import InputError, write_whole
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.elbo import iwae_bound, log_normal, reparameterize
from vae_nbdev.evaluate import NUMBERS_AT_ONCE, evaluating, log_prior, log_px, mean_error
from vae_nbdev.priors import StandardNormal, fit_prior, make_prior, save_prior
from vae_nbdev.vae import VAE
from vae_nbdev.weights import shipped
from common import RESULTS, Parser, command, machine, run, versions

KINDS = dict(mixture={}, flow={}, flow_matching={})

def each_elbo(model, batches, priors):
    "ELBO of every image under every prior, at the same z."
    parts, g = [], torch.Generator().manual_seed(0)
    for x,y in batches:
        q = model.encode(x, y)
        z = reparameterize(*q, g)[None]
        rest = log_px(model, x, y, z) - log_normal(z, *q, 2)
        parts.append(torch.stack([(rest + prior(model, z))[0] for prior in priors]))
    return torch.cat(parts, 1)

def each_nll(model, batches, priors, k):
    "NLL of every image under every prior, with the same k draws."
    parts, g = [], torch.Generator().manual_seed(0)
    for x,y in batches:
        q, left, log_ws = model.encode(x, y), k, []
        while left:
            n = min(left, max(1, NUMBERS_AT_ONCE//x.numel()))
            z = torch.stack([reparameterize(*q, g) for _ in range(n)])
            rest = log_px(model, x, y, z) - log_normal(z, *q, 2)
            log_ws.append(torch.stack([rest + prior(model, z) for prior in priors]))
            left -= n
        log_w = torch.cat(log_ws, 1)
        parts.append(torch.stack([-iwae_bound(w) for w in log_w]))
    return torch.cat(parts, 1)

def under(prior):
    "Density of codes `(k, n, latent_dim)` under a prior; None: N(0,I)."
    def log_p(model, z):
        model.prior = prior
        return log_prior(model, None, z)
    return log_p

def fit(model, kind, train, seed, epochs):
    "A fitted prior and what it cost."
    torch.manual_seed(seed)
    settings = KINDS[kind]
    prior, start = make_prior(kind, *model.latent_shape, **settings), perf_counter()
    model.prior = None
    history = fit_prior(model, prior, train, num_epochs=epochs, seed=seed)
    facts = dict(minutes=(perf_counter() - start)/60, parameters=sum(p.numel() for p in prior.parameters()), last_loss=history[-1])
    print(f'seed {seed} {kind}: {facts["minutes"]:.1f} minutes, loss {history[0]:.2f} to {history[-1]:.2f}', flush=True)
    return prior, facts

def summary(rows, before, args):
    "Means over seeds, each seed's values, and the standard error over images of the paired differences from N(0,I)."
    out = dict(before)
    for kind, found in rows.items():
        out[kind] = {name: dict(value=mean(r[name] for r in found), values=[r[name] for r in found]) for name in found[0]}
        out[kind] |= dict(seeds=[args.first_seed + i for i in range(len(found))], epochs=args.epochs, command=command())
    return out

def earlier(args):
    "Numbers of kinds that are not measured now."
    path = RESULTS/'priors.json'
    if args.quick or not path.exists(): return {}
    old = json.loads(path.read_text())
    if old['k'] != args.k: raise InputError(f'results/priors.json is for k = {old["k"]}: measure all kinds with another k')
    return old['priors']

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model, rows, before = VAE.from_pretrained('mnist'), {}, earlier(args)
    train, test = load_dataset('mnist', 'train'), load_dataset('mnist', 'test')
    n = 2000 if args.quick else None
    batches = Batches(train.images[:n], None, 512, shuffle=True, binarize='dynamic', seed=0)
    whole = Batches(test.images[:n], None, 200, binarize='dynamic', seed=0)
    some = Batches(test.images[::20][:n and 40], None, 100, binarize='dynamic', seed=0)
    for seed in range(args.first_seed, args.first_seed + args.repeats):
        fitted = {kind: fit(model, kind, batches, seed, args.epochs) for kind in args.kinds}
        priors = [under(None), *(under(p) for p,_ in fitted.values())]
        start = perf_counter()
        with evaluating(model):
            elbo = each_elbo(model, whole, priors)
            nll = each_nll(model, some, priors, args.k)
        print(f'measured in {(perf_counter() - start)/60:.1f} minutes', flush=True)
        for i,kind in enumerate(['normal', *fitted]):
            gain, less = mean_error(elbo[i] - elbo[0]), mean_error(nll[0] - nll[i])
            r = dict(elbo=elbo[i].mean().item(), nll=nll[i].mean().item(), elbo_gain=gain.value, elbo_gain_error=gain.error,
                     nll_gain=less.value, nll_gain_error=less.error)
            if kind != 'normal': r |= fitted[kind][1]
            print(f'{kind:<14} ELBO {r["elbo"]:.2f} ({gain.value:+.2f} ± {gain.error:.2f})  NLL {r["nll"]:.2f} ({less.value:+.2f} ± {less.error:.2f} better)', flush=True)
            rows.setdefault(kind, []).append({k: float(v) for k,v in r.items()})
        if args.keep and seed == args.first_seed and not args.quick:
            prior, facts = fitted[args.keep]
            save_prior(prior, shipped()['mnist']/f'prior_{args.keep}.safetensors', model, epochs=args.epochs, seed=seed, last_loss=facts['last_loss'])
        result = dict(name='priors', model='mnist', train_images=batches.num_images, binarize='dynamic', elbo_images=whole.num_images,
                      nll_images=some.num_images, k=args.k, priors=summary(rows, before, args), machine=machine(), versions=versions(), command=command(), date=date.today().isoformat())
        if args.quick: continue
        with write_whole(RESULTS/'priors.json') as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--epochs', type=int, default=60, help='passes over the training images')
    p.add_argument('--k', type=int, default=500, help='draws for each image in the NLL')
    p.add_argument('--kinds', nargs='*', choices=KINDS, default=list(KINDS), help='which priors')
    p.add_argument('--keep', choices=KINDS, help='write this prior beside the shipped weights')
    p.add_argument('--repeats', type=int, default=3, help='seeds of the fits')
    p.add_argument('--first_seed', type=int, default=0, help='seed of the first fit')
    p.add_argument('--quick', action='store_true', help='a few images; nothing is written')
    run(main, p)
