"""The likelihood speed run: how few core-minutes to 86, 84, 82, 81 and 80 nats on dynamically binarised MNIST?

An entry is a set of settings. It is trained on 55,000 or all 60,000 training images for its core-minutes of processor time (steps only, one thread;
the learning rate falls with the share that is spent), and judged once, at its end: the NLL of all 10,000 test images by importance sampling with K
draws each, and its standard error over images. Stated with it: core-minutes, machine, FLOPs of training as torch counts them, parameters. Decoding
runs in the precision of the training; what that changes is measured on the first images and stated. A run that was stopped goes on where it was, in
training and in judging; states and weights are kept in --folder, results in results/speedrun.json. The rules are in nbs/25_speedrun.ipynb."""
import argparse, copy, json, math
from dataclasses import asdict
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import process_time
import torch
from vae_nbdev.config import CONFIG_NAME, preset
from vae_nbdev.core import check_range, write_whole
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.elbo import iwae_bound
from vae_nbdev.evaluate import bound_images, evaluating, log_weights, mean_error
from vae_nbdev.trainer import update_average
from vae_nbdev.vae import VAE
from common import RESULTS, Parser, command, machine, run, versions
from levels import DRAWS, flops_of

MARKS = 86, 84, 82, 81, 80 # nats
ENTRIES = { # settings that differ from the preset `mnist`
    'flow': dict(prior='flow'),
    'levels': dict(prior='flow', lower_levels='4x7', activation='silu'),
    'deep': dict(prior='flow', lower_levels='4x7,2x14', activation='silu'),
}
WHOLE = 'levels', 'deep' # entries that train on all 60,000 images: those kept to choose by, too
RATE, PRIOR_RATE, DECAY, CLIP, WARMUP = 4e-3, 2e-3, 0.9995, 200., 200 # step sizes, weight average, norm, steps
BLOCK, CHECKED = 100, 200 # images at a time; images whose NLL is also measured in single precision
PRESET_STEPS = 60*430 # of the preset `mnist`, to compare with
half = lambda: torch.autocast('cpu', torch.bfloat16)

def make(name, seed):
    "The settings of an entry and its untrained model."
    config = preset('mnist', **ENTRIES[name], seed=seed)
    torch.manual_seed(seed)
    return config, VAE(config.model).to(memory_format=torch.channels_last)

def make_plain(seed):
    "The model of the preset `mnist` itself."
    return VAE(preset('mnist', seed=seed).model)

def training_images(name):
    "What an entry is trained on."
    return torch.cat([load_dataset('mnist', s).images for s in (('train', 'valid') if name in WHOLE else ('train',))])

def groups(model):
    "Parameters of the networks and of the prior, each with its step size."
    prior = list(model.prior.parameters())
    mine = {id(p) for p in prior}
    return [dict(params=[p for p in model.parameters() if id(p) not in mine], rate=RATE), dict(params=prior, rate=PRIOR_RATE)]

def keep(state, path):
    "Write a state, whole or not at all."
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as tmp: torch.save(state, tmp)

def train(name, images, args):
    "Train an entry to its end, from wherever it is."
    (config, model), path, limit = make(name, args.seed), Path(args.folder)/f'{name}.pt', 60*args.minutes
    optimizer = torch.optim.AdamW(groups(model), betas=(0.9, 0.99), weight_decay=0., fused=True)
    average, step, used = copy.deepcopy(model).requires_grad_(False), 0, 0.
    batches = Batches(images, None, config.train.batch_size, shuffle=True, binarize='dynamic', seed=args.seed)
    if path.exists():
        state = torch.load(path, weights_only=True)
        for part, key in (model, 'model'), (average, 'average'), (optimizer, 'opt'): part.load_state_dict(state[key])
        step, used = state['step'], state['used']
    last = saved = process_time()
    running = None
    while used < limit:
        batches.epoch, first = step//len(batches), step % len(batches)
        for x,_ in batches.iterate(first):
            now = process_time()
            used, last = used + now - last, now
            if used >= limit: break
            share = min(1., (step + 1)/WARMUP)*0.5*(1 + math.cos(math.pi*used/limit))
            for g in optimizer.param_groups: g['lr'] = g['rate']*share
            with half(): loss = -model.bound(x.contiguous(memory_format=torch.channels_last)).elbo.mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP, error_if_nonfinite=True)
            optimizer.step()
            step += 1
            update_average(average, model, step, DECAY)
            running = loss.item() if running is None else running + 0.01*(loss.item() - running)
            if step % 500 == 0: print(f'{name}: step {step:,}, {used/60:.1f} of {limit/60:g} core-minutes, training bound {-running:.2f}', flush=True)
        if used >= limit or now - saved > 60:
            keep(dict(model=model.state_dict(), average=average.state_dict(), opt=optimizer.state_dict(), step=step, used=used), path)
            saved = now
    x = next(iter(batches))[0]
    of = lambda m: flops_of(m, lambda: m.bound(x).elbo.mean())
    return config, average.eval(), dict(core_minutes=used/60, steps=step, epochs=step/len(batches), parameters=sum(p.numel() for p in model.parameters()),
                                        training_flops=of(model)*step, preset_flops=of(make_plain(args.seed))*PRESET_STEPS)

def weigher(model, x):
    "What gives n log-weights of each image, from a generator."
    if hasattr(model, 'log_weights'): return lambda n, g: model.log_weights(x, None, n, g)
    q = model.encode(x)
    return lambda n, g: log_weights(model, x, None, q, n, g)

def nll_of(model, x, k, generator):
    "NLL of each image with k draws."
    weigh = weigher(model, x)
    return -iwae_bound(torch.cat([weigh(min(DRAWS, k - i), generator) for i in range(0, k, DRAWS)]).float())

def nll_of_block(i, model, batches, k):
    "NLL of each image of a block, with noise of its own, whichever process draws it."
    x, _ = next(batches.iterate(i))
    with evaluating(model), torch.no_grad(), half():
        return nll_of(model, x.contiguous(memory_format=torch.channels_last), k, torch.Generator().manual_seed(i)).tolist()

def judge(name, model, test, args):
    "NLL of all test images, block by block; blocks that are done are kept."
    path = Path(args.folder)/f'{name}_nll.pt'
    found = list(torch.load(path, weights_only=True)) if path.exists() else []
    batches = Batches(test.images, None, BLOCK, binarize='dynamic', seed=0)
    blocks = partial(nll_of_block, model=model, batches=batches, k=args.k)
    with get_context('fork').Pool(args.workers) as pool:
        for i,nll in enumerate(pool.imap(blocks, range(len(found), len(batches))), len(found)):
            found.append(torch.tensor(nll))
            keep(found, path)
            if i % 5 == 4: print(f'{name}: {sum(map(len, found)):,} images, NLL {mean_error(torch.cat(found)).value:.2f}', flush=True)
    with evaluating(model), torch.no_grad():
        single = [nll_of(model, x, args.k, torch.Generator().manual_seed(i)) for i,(x,_) in zip(range(CHECKED//BLOCK), batches)]
    nll, b = mean_error(torch.cat(found)), bound_images(model, batches)
    differ = mean_error(torch.cat(single) - torch.cat(found[:len(single)]))
    return dict(nll=nll.value, nll_error=nll.error, elbo=b.elbo.mean().item(), rate=b.rate.mean().item(), distortion=b.distortion.mean().item(),
                latents_used=int((b.rate_dims.mean(0) > 0.01).sum()), single_precision_minus_this=differ.value, single_precision_error=differ.error)

def elbo_of(model, images):
    "Mean ELBO of images: those of training, to see whether they do better than the test images."
    return bound_images(model, Batches(images, None, BLOCK, binarize='dynamic', seed=0)).elbo.mean().item()

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    check_range(args.k, 'k', 1)
    check_range(args.workers, 'workers', 1)
    images, test, path = training_images(args.entry), load_dataset('mnist', 'test'), RESULTS/'speedrun.json'
    if args.quick: images, test.images, args.folder, args.minutes, args.k = images[:1000], test.images[:200], args.folder + '/quick', 0.05, 10
    print(f'{args.entry}: states go to {args.folder}', flush=True)
    config, model, facts = train(args.entry, images, args)
    folder = Path(args.folder)/args.entry
    folder.mkdir(parents=True, exist_ok=True)
    with write_whole(folder/CONFIG_NAME) as tmp: tmp.write_text(json.dumps(dict(data=asdict(config.data), model=asdict(config.model))), encoding='utf-8')
    model.save_pretrained(folder) # which keeps what the config says of the data
    entry = facts | judge(args.entry, model, test, args) | dict(train_elbo=elbo_of(model, images), settings=ENTRIES[args.entry], train_images=len(images), seed=args.seed, k=args.k, test_images=len(test.images),
        machine=machine(), versions=versions(), command=command(), date=date.today().isoformat())
    entry['marks'] = [m for m in MARKS if entry['nll'] <= m]
    print(f'{args.entry}: NLL {entry["nll"]:.2f} ± {entry["nll_error"]:.2f} after {entry["core_minutes"]:.1f} core-minutes, {entry["training_flops"]/1e12:,.0f} TFLOP; under {entry["marks"]}')
    if args.quick: return
    old = json.loads(path.read_text()) if path.exists() else dict(name='speedrun', data='mnist', binarize='dynamic', marks=MARKS, entries={})
    old['entries'][f'{args.entry} {args.minutes:g}'] = entry
    with write_whole(path) as tmp: tmp.write_text(json.dumps(old | dict(machine=machine(), versions=versions(), command=command(), date=date.today().isoformat()), indent=1) + '\n', encoding='utf-8')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('entry', choices=ENTRIES, help='what to train')
    p.add_argument('--minutes', type=float, default=46., help='core-minutes of training')
    p.add_argument('--k', type=int, default=1000, help='draws for each test image')
    p.add_argument('--workers', type=int, default=1, help='processes that judge; the result is the same')
    p.add_argument('--seed', type=int, default=0, help='seed of weights, noise and order of images')
    p.add_argument('--folder', default='runs/speedrun', help='where states and models are kept')
    p.add_argument('--quick', action='store_true', help='a few images and seconds; no results are written')
    p.set_defaults(repeats=1)
    run(main, p)
