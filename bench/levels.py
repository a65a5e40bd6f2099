"""What do levels of latents buy? NLL of dynamically binarised MNIST for models of one, two and three levels, trained for equal core-minutes.

The models differ in `lower_levels` and in nothing else: one width, one depth, the same seeds. Each is trained until its core-minutes of processor time are spent
(steps only: reading data and making batches included, validation not, there is none); the learning rate falls with the share of them that is spent. The ELBO is over
all 10,000 test images, one draw each. The NLL is measured with K draws on every n-th test image; `nll` is that of all test images by difference,
ELBO of all minus the gap that these images show, and its error counts both. One thread. A model that is done is kept in results/levels.json, and
those of the first seed in --folder; a run that was stopped goes on with the next."""
import argparse, json, math
from datetime import date
from pathlib import Path
from time import process_time
import copy
import torch
from torch.utils.flop_counter import FlopCounterMode
from vae_nbdev.config import preset
from vae_nbdev.core import write_whole
from vae_nbdev.data import Batches, load_dataset
from vae_nbdev.elbo import iwae_bound
from vae_nbdev.evaluate import bound_images, evaluating, log_weights, mean_error
from vae_nbdev.trainer import make_optimizer, update_average
from vae_nbdev.vae import VAE
from common import RESULTS, Parser, command, machine, run, versions

MODELS = {'1': '', '2': '4x7', '3': '4x7,2x14'} # levels below the top one, which has 24 latents
SETTINGS = dict(block_stages='last', activation='silu', learning_rate=3e-3, warmup_steps=100)
CLIP, DRAWS = 200., 25 # largest norm of a gradient; draws weighed together

def flops_of(model, bound):
    "Floating-point operations of one training step with what `bound` gives, as torch counts them."
    with FlopCounterMode(display=False) as counter: bound().backward()
    model.zero_grad()
    return counter.get_total_flops()

def train(config, batches, minutes):
    "The averaged model after these core-minutes, and what they bought."
    t, (x, _) = config.train, next(iter(batches))
    torch.manual_seed(t.seed)
    model = VAE(config.model)
    optimizer, flops = make_optimizer(model, t), flops_of(model, lambda: model.bound(x).elbo.mean())
    average, step, start, share, running = copy.deepcopy(model), 0, process_time(), 0., 0.
    while share < 1:
        batches.epoch = step//len(batches)
        for x,_ in batches:
            share = (process_time() - start)/(60*minutes)
            if share >= 1: break
            warm = min(1., (step + 1)/t.warmup_steps)
            for g in optimizer.param_groups: g['lr'] = t.learning_rate*warm*0.5*(1 + math.cos(math.pi*share))
            with torch.autocast('cpu', torch.bfloat16): bound = model.bound(x)
            optimizer.zero_grad()
            (-bound.elbo.mean()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            step += 1
            update_average(average, model, step, t.ema_decay)
            running += 0.01*(bound.elbo.mean().item() - running) if step > 1 else bound.elbo.mean().item()
            if step % 200 == 0: print(f'step {step:>5} {100*share:5.1f} %  training ELBO {running:7.2f}', flush=True)
    facts = dict(core_minutes=(process_time() - start)/60, steps=step, epochs=step/len(batches), parameters=sum(p.numel() for p in model.parameters()),
                 flops_per_image=flops/len(x), training_flops=flops*step)
    return average.eval(), facts

def each_gap(model, batches, k):
    "Mean log-weight and log of the mean weight of every image, from the same K draws."
    parts, g = [], torch.Generator().manual_seed(0)
    for x,_ in batches:
        q = model.encode(x)
        weigh = (lambda n: model.log_weights(x, None, n, g)) if hasattr(model, 'log_weights') else (lambda n: log_weights(model, x, None, q, n, g))
        log_w = torch.cat([weigh(min(DRAWS, k - i)) for i in range(0, k, DRAWS)])
        parts.append(torch.stack([log_w.mean(0), iwae_bound(log_w)]))
    return torch.cat(parts, 1)

def measure(model, test, args):
    "ELBO of all test images, NLL by difference, and the rate of each level."
    start = process_time()
    whole = Batches(test.images, None, 100, binarize='dynamic', seed=0)
    some = Batches(test.images[::args.every], None, 50, binarize='dynamic', seed=0)
    b = bound_images(model, whole)
    with evaluating(model): means, bounds = each_gap(model, some, args.k)
    elbo, gap, plain = mean_error(b.elbo), mean_error(bounds - means), mean_error(-bounds)
    sizes = [math.prod(s) for s in getattr(model, 'level_shapes', [model.latent_shape])]
    return dict(elbo=elbo.value, elbo_error=elbo.error, rate=b.rate.mean().item(), distortion=b.distortion.mean().item(),
                rates=[r.sum().item() for r in b.rate_dims.mean(0).split(sizes)], active=[int((r > 0.01).sum()) for r in b.rate_dims.mean(0).split(sizes)], latents=sizes,
                gap=gap.value, gap_error=gap.error, nll=-elbo.value - gap.value, nll_error=math.hypot(elbo.error, gap.error),
                nll_some=plain.value, nll_some_error=plain.error, evaluation_core_minutes=(process_time() - start)/60)

def main(args):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images, test, path = load_dataset('mnist', 'train').images, load_dataset('mnist', 'test'), RESULTS/'levels.json'
    if args.quick: images, test.images = images[:2000], test.images[:200]
    asked = dict(minutes=args.minutes, k=args.k, every=args.every)
    old = json.loads(path.read_text()) if path.exists() and not args.quick else {}
    seeds = old['seeds'] if old and old['asked'] == asked else {}
    for seed in range(args.repeats):
        done = seeds.setdefault(str(seed), {})
        for name in args.levels:
            if name in done: continue
            config = preset('mnist', lower_levels=MODELS[name], seed=seed, **SETTINGS)
            batches = Batches(images, None, config.train.batch_size, shuffle=True, drop_last=True, binarize='dynamic', seed=seed)
            print(f'levels: {name}, seed {seed}', flush=True)
            model, facts = train(config, batches, args.minutes)
            if args.folder and not seed and not args.quick: model.save_pretrained(Path(args.folder)/f'levels_{name}')
            done[name] = r = facts | measure(model, test, args) | dict(lower_levels=MODELS[name], command=command(), date=date.today().isoformat())
            print(f'{name} levels: ELBO {r["elbo"]:.2f}, NLL {r["nll"]:.2f} ± {r["nll_error"]:.2f}, gap {r["gap"]:.2f} ± {r["gap_error"]:.2f}, rates {r["rates"]}', flush=True)
            if args.quick: continue
            result = dict(name='levels', data='mnist', binarize='dynamic', test_images=len(test.images), nll_images=len(test.images[::args.every]), k=args.k,
                          asked=asked, settings=SETTINGS, seeds=seeds, machine=machine(), versions=versions(), command=command(), date=date.today().isoformat())
            with write_whole(path) as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=5.5, help='core-minutes of training for each model')
    p.add_argument('--levels', nargs='*', choices=MODELS, default=list(MODELS), help='which models')
    p.add_argument('--k', type=int, default=1000, help='draws for each image in the NLL')
    p.add_argument('--every', type=int, default=50, help='the NLL is measured on every n-th test image')
    p.add_argument('--repeats', type=int, default=3, help='seeds of weights, noise and order of images')
    p.add_argument('--folder', help="keep the first seed's models here")
    p.add_argument('--quick', action='store_true', help='a few images; nothing is written')
    run(main, p)
