"""The ladder of priors: what is each worth to one trained model, in nats and in samples, at equal minutes?

Rungs that are not fitted: N(0,I), N(0,I) drawn at a temperature, weighted averages of the posteriors of a few images. Rungs that are: a mixture, a
VampPrior, a flow, flow matching, each for equal core-minutes (on faces half as many) on codes of the training images, the model's weights untouched, once for each seed. On digits
the model is the shipped `mnist`; on faces, 32 pixels wide, one that is trained first, in runs/study. ELBO over all test images, one draw each; NLL (digits) over
every 20th with K draws; all rungs weigh the same images and the same draws. Samples: the distance of a set from real test images in random features
that no model has met, and on digits the share of which the judge of chapter 40 is sure, beside other real images. One thread; results/ladder.json is
written after each seed, and a seed that is there already is not measured again."""
import argparse, json, math
from datetime import date
from time import process_time
import torch
from vae_nbdev.config import preset
from vae_nbdev.core import write_whole
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.evaluate import evaluating, mean_error
from vae_nbdev.priors import CodeEpochs, StandardNormal, make_prior, prior_step, start_prior
from vae_nbdev.samplers import encode_images, weighted_codes
from vae_nbdev.study import RandomFeatures, Study, digit_judge, frechet
from vae_nbdev.vae import VAE
from common import RESULTS, Parser, command, machine, run, versions
from priors import each_elbo, each_nll, under

FITTED, TEMPERATURE, AVERAGED, RATE = ('mixture', 'vamp', 'flow', 'flow_matching'), 0.7, 2, 2e-3
SHARE = dict(digits=1., faces=0.5) # of the minutes
FACES = dict(image_size=32, latent_dim=64, scale_mode='learned', num_epochs=20, learning_rate=2e-3, lr_schedule='cosine', mixed_precision='no')

def fit(model, kind, batches, minutes, seed):
    "A prior fitted for these core-minutes, and what it cost."
    torch.manual_seed(seed)
    own = dict(image_shape=model.image_shape) if kind == 'vamp' else {}
    prior, g, steps = make_prior(kind, *model.latent_shape, **own), torch.Generator().manual_seed(seed), 0
    params = list(prior.attach(model).train().parameters())
    opt = torch.optim.AdamW(params, lr=RATE, weight_decay=0.)
    start = process_time()
    share = lambda: (process_time() - start)/(60*minutes)
    with evaluating(model), torch.enable_grad():
        start_prior(model, prior, batches, g)
        for codes in CodeEpochs(model, batches, 10**6, g):
            for z,y in codes:
                if share() >= 1: break
                opt.param_groups[0]['lr'] = 0.5*RATE*(1 + math.cos(math.pi*share()))
                loss, steps = prior_step(prior, opt, z, y, g), steps + 1
            if share() >= 1: break
    print(f'seed {seed} {kind}: {steps:,} steps, last loss {loss.item():.2f}', flush=True)
    return prior.eval(), dict(core_minutes=share()*minutes, steps=steps, parameters=sum(p.numel() for p in params))

def at_temperature(model):
    "The density N(0, t²·I)."
    prior = StandardNormal(*model.latent_shape)
    prior.std.fill_(TEMPERATURE)
    return prior

def draws(model, fitted, codes, n, seed):
    "Images of every rung, one set at a time."
    g = lambda: torch.Generator().manual_seed(1000 + seed)
    d = model.latent_shape
    yield 'normal', torch.randn(n, *d, generator=g())
    yield 'temperature', TEMPERATURE*torch.randn(n, *d, generator=g())
    yield 'weighted', weighted_codes(*codes, AVERAGED, n, generator=g())
    for kind, (prior, _) in fitted.items(): yield kind, prior.sample(n, g())

def measure(name, model, sets, judges, args, seed):
    "All rungs with one seed."
    train, whole, some, real, others = sets
    model.prior = None
    fitted = {kind: fit(model, kind, train, SHARE[name]*args.minutes, seed) for kind in FITTED}
    priors = dict(normal=None, temperature=at_temperature(model)) | {kind: prior for kind, (prior, _) in fitted.items()}
    with evaluating(model):
        elbo = each_elbo(model, whole, [under(p) for p in priors.values()])
        nll = each_nll(model, some, [under(p) for p in priors.values()], args.k) if some else None
        rows = {}
        for i, kind in enumerate(priors):
            gain = mean_error(elbo[i] - elbo[0])
            rows[kind] = dict(elbo=elbo[i].mean().item(), elbo_gain=gain.value, elbo_gain_error=gain.error)
            if some:
                less = mean_error(nll[0] - nll[i])
                rows[kind] |= dict(nll=nll[i].mean().item(), nll_gain=less.value, nll_gain_error=less.error)
            if kind in fitted: rows[kind] |= fitted[kind][1]
        model.prior = None
        codes = encode_images(model, train.images[:5000]/255)
        told = lambda x: {k: judge(x) for k, judge in judges.items()}
        for kind, z in draws(model, fitted, codes, len(real), seed):
            with torch.no_grad(): rows.setdefault(kind, {}).update(told(model.images(z)))
    rows['other real images'] = told(others[seed])
    for kind, r in rows.items(): print(f'{name} seed {seed} {kind:<18}' + '  '.join(f'{k} {v:,.3f}' for k, v in r.items()), flush=True)
    return rows

def digits(args):
    "The shipped model, sets of images, and the judges."
    train, test = load_dataset('mnist', 'train'), load_dataset('mnist', 'test')
    n, few = (200, 400) if args.quick else (2000, None)
    real = test.images[:n]/255
    features, judge = RandomFeatures(real), digit_judge()
    batches = lambda x, size, **kw: Batches(x, None, size, binarize='dynamic', seed=0, **kw)
    sets = (batches(train.images[:few], 512, shuffle=True), batches(test.images[:few], 200), batches(test.images[::20][:few and 20], 100), real,
            [train.images[s::20][:n]/255 for s in range(args.repeats)])
    rows = features(real)
    return VAE.from_pretrained('mnist'), sets, dict(distance=lambda x: frechet(features(x), rows), sure=judge.confidence)

def faces(args):
    "A model that is trained first, sets of images, and the judge."
    study = Study('ladder')
    model, _ = study.run('celeba-32', preset('celeba-wide', **FACES, seed=0))
    train, test = (load_dataset('celeba', split, image_size=FACES['image_size'], progress=False) for split in ('train', 'test'))
    n, few = (200, 400) if args.quick else (1000, None)
    real = test.images[-n:]/255
    features = RandomFeatures(real)
    rows = features(real)
    sets = (Batches(train.images[:few], None, 512, shuffle=True, seed=0), Batches(test.images[:few], None, 200), None, real,
            [train.images[s::8][:n]/255 for s in range(args.repeats)])
    return model, sets, dict(distance=lambda x: frechet(features(x), rows))

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    path, asked = RESULTS/'ladder.json', dict(minutes=args.minutes, k=args.k, temperature=TEMPERATURE, averaged=AVERAGED)
    if args.quick: args.minutes, args.k, args.repeats = 0.02, 5, 1
    old = json.loads(path.read_text()) if path.exists() and not args.quick else {}
    found = old['sets'] if old and old['asked'] == asked else {}
    for name in args.sets:
        done = found.setdefault(name, {})
        if all(str(seed) in done for seed in range(args.repeats)): continue
        model, sets, judges = dict(digits=digits, faces=faces)[name](args)
        for seed in range(args.repeats):
            if str(seed) in done: continue
            done[str(seed)] = measure(name, model, sets, judges, args, seed)
            if args.quick: continue
            result = dict(name='ladder', asked=asked, train_images=sets[0].num_images, sets=found, machine=machine(), versions=versions(), command=command(),
                          date=date.today().isoformat())
            with write_whole(path) as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=2., help='core-minutes of each fit on digits; on faces half as many')
    p.add_argument('--k', type=int, default=500, help='draws for each digit in the NLL')
    p.add_argument('--sets', nargs='*', choices=('digits', 'faces'), default=['digits', 'faces'], help='which images')
    p.add_argument('--repeats', type=int, default=3, help='seeds of the fits and draws')
    p.add_argument('--quick', action='store_true', help='a few images and seconds; nothing is written')
    run(main, p)
