"""Fast layers of a CPU: training speed of one small VAE as one thing at a time is changed.

Baseline, 1.00: 28x28 images, two 3x3 convolutions of stride 2 (32 and 64 channels), latent 16, two transposed 4x4 convolutions, ReLU, no
normalisation, fused AdamW, batches of 128, float32. A row's ratio is its images per second over those of the baseline, or of the row it
names; both are timed in turn in rounds of a few tenths of a second, so that each ratio is paired.

Then the networks of presets mnist and celeba (64x64) as vae_nbdev builds and feeds them, in float32, with bf16 autocast (which pays
only where the CPU has instructions for it: `cpu_flags` in the JSON), with weights in channels_last order, and with both.

What belongs to a whole process is timed in a second one, which waits while the first works:
- allocator: glibc's malloc keeps freed memory (mallopt, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD at 1 GiB) instead of returning it;
- flush denormal: torch.set_flush_denormal; `worn mlp` is an MLP whose first layer has seen some pixels in its first 100 batches only,
  so that after 1500 steps the optimiser's averages for them are denormal numbers;
- compile: torch.compile, only with --compile, since it takes long.

Headline: the best of these for preset mnist over the same preset in plain float32.
"""
import ctypes, subprocess, sys
from contextlib import nullcontext
from time import perf_counter
import torch
import torch.nn.functional as F
from torch import nn
from vae_nbdev.config import VAEConfig, preset
from vae_nbdev.core import InputError
from vae_nbdev.data import Batches
from vae_nbdev.vae import VAE
from common import alternate, parser, ratios, report, run, spread

TARGET = 1.5
ACTIVATIONS = dict(relu=nn.ReLU, leaky_relu=nn.LeakyReLU, silu=nn.SiLU, gelu=nn.GELU, elu=nn.ELU)
DOWN = {'stride 3x3': lambda a,b: [nn.Conv2d(a, b, 3, 2, 1)], 'stride 4x4': lambda a,b: [nn.Conv2d(a, b, 4, 2, 1)],
        'max pool': lambda a,b: [nn.Conv2d(a, b, 3, 1, 1), nn.MaxPool2d(2)], 'average pool': lambda a,b: [nn.Conv2d(a, b, 3, 1, 1), nn.AvgPool2d(2)]}
UP = {'convT 4x4': lambda a,b: [nn.ConvTranspose2d(a, b, 4, 2, 1)], 'convT 3x3': lambda a,b: [nn.ConvTranspose2d(a, b, 3, 2, 1, 1)],
      'convT 2x2': lambda a,b: [nn.ConvTranspose2d(a, b, 2, 2)], 'nearest + conv': lambda a,b: [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1)],
      '1x1 + PixelShuffle': lambda a,b: [nn.Conv2d(a, 4*b, 1), nn.PixelShuffle(2)], '3x3 + PixelShuffle': lambda a,b: [nn.Conv2d(a, 4*b, 3, 1, 1), nn.PixelShuffle(2)]}
NORM = dict(none=lambda c: [], batch=lambda c: [nn.BatchNorm2d(c)], group=lambda c: [nn.GroupNorm(8, c)])
SECOND = dict(allocator=[(name, name) for name in ('nearest + conv', 'max pool', 'batch 512', 'preset mnist', 'preset celeba')] +
                        [(f'preset {p} {m}', f'preset {p}') for p in ('mnist', 'celeba') for m in ('bf16', 'bf16 + channels_last')],
              flush=[('worn mlp', 'worn mlp'), ('baseline', 'baseline')], compile=[('baseline', 'baseline'), ('preset mnist', 'preset mnist')])

class Small(nn.Module):
    "The baseline's network, with one part exchanged."
    def __init__(self, act='relu', down='stride 3x3', up='convT 4x4', norm='none', latent=16):
        super().__init__()
        a = lambda c: NORM[norm](c) + [ACTIVATIONS[act]()]
        self.encoder = nn.Sequential(*DOWN[down](1, 32), *a(32), *DOWN[down](32, 64), *a(64), nn.Flatten(), nn.Linear(64*49, 2*latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 64*49), nn.Unflatten(1, (64, 7, 7)), *a(64), *UP[up](64, 32), *a(32), *UP[up](32, 1))

    def forward(self, x, y=None):
        mu, logvar = self.encoder(x).chunk(2, 1)
        logits = self.decoder(mu + torch.randn_like(mu)*(0.5*logvar).exp())
        nll = F.binary_cross_entropy_with_logits(logits.float(), x, reduction='sum')
        return (nll + 0.5*(mu**2 + logvar.exp() - 1 - logvar).sum())/len(x)

class Preset(nn.Module):
    "A VAE of vae_nbdev that returns its loss."
    def __init__(self, config):
        super().__init__()
        self.vae = VAE(config)
        self.vae.likelihood.validate = False
    def forward(self, x, y):
        bound = self.vae(x, y)
        return bound.distortion.mean() + bound.rate.mean()

def random_images(n, channels, size): return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)

class Training:
    "A model in training; `run()` takes the seconds of `n` images."
    def __init__(self, model, batches, n, bf16=False, channels_last=False, fused=True):
        self.net = self.model = model.train().to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        self.batches, self.n, self.bf16 = batches, n, bf16
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0., fused=fused, foreach=None if fused else False)

    def step(self, x, y):
        with torch.autocast('cpu', torch.bfloat16) if self.bf16 else nullcontext(): loss = self.net(x, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def run(self):
        start = perf_counter()
        for i in range(self.n//self.batches.batch_size): self.step(*self.batches.batch(i % len(self.batches)))
        return perf_counter() - start

class Worn(Training):
    "An MLP after 1500 steps, in which the images' upper half was black but for the first 100."
    def __init__(self, n):
        batches = Batches(random_images(128*4, 1, 28), batch_size=128)
        super().__init__(Preset(VAEConfig(image_size=28, architecture='mlp', width=400, depth=1, likelihood_type='bce')), batches, n)
        for i in range(1500):
            if i == 100: batches.images[:,:,:14] = 0
            self.step(*batches.batch(i % 4))

def variants(n):
    "Functions that build each `Training`; `n` images a round."
    images, cut = random_images(1536, 1, 28), dict(binarize='threshold')
    small = lambda batch_size=128, images=images, **kw: (lambda: Training(Small(**{k: v for k,v in kw.items() if k in ('act', 'down', 'up', 'norm')}),
        Batches(images, batch_size=batch_size, **cut), n, **{k: v for k,v in kw.items() if k in ('bf16', 'channels_last', 'fused')}))
    out = {'baseline': small()}
    out |= {name: small(act=name) for name in list(ACTIVATIONS)[1:]}
    out |= {name: small(down=name) for name in list(DOWN)[1:]} | {name: small(up=name) for name in list(UP)[1:]}
    out |= {f'{name} norm': small(norm=name) for name in list(NORM)[1:]}
    modes = {'channels_last': dict(channels_last=True), 'bf16': dict(bf16=True), 'bf16 + channels_last': dict(bf16=True, channels_last=True)}
    out |= {name: small(**kw) for name,kw in modes.items()} | {'AdamW one by one': small(fused=False)}
    out |= {f'batch {b}': small(batch_size=b) for b in (64, 256, 512)}
    out |= {'nearest + conv, channels_last': small(up='nearest + conv', channels_last=True)}
    for name,share in dict(mnist=2, celeba=6).items():
        config = preset(name).model
        data = Batches(random_images(512, config.channels, config.image_size), batch_size=128, binarize=preset(name).data.binarize)
        make = lambda config=config, data=data, share=share, **kw: Training(Preset(config), data, max(128, n//share), **kw)
        out |= {f'preset {name}': make} | {f'preset {name} {mode}': (lambda make=make, kw=kw: make(**kw)) for mode,kw in modes.items()}
    return out | {'worn mlp': lambda: Worn(n)}

def keep_memory():
    "Let glibc's malloc keep freed memory, up to 1 GiB."
    try: mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError): raise InputError('the allocator rows need glibc: this system has no mallopt') from None
    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 2**30
    return mallopt(m_mmap_threshold, limit) and mallopt(m_trim_threshold, limit)

def work(kind, n):
    "The second process: for each name that comes in, a round of that variant, and its seconds go out."
    if kind == 'allocator' and not keep_memory(): raise InputError('mallopt refused the thresholds')
    if kind == 'flush': torch.set_flush_denormal(True)
    builders, built = variants(n), {}
    for name in map(str.strip, sys.stdin):
        if name not in built:
            torch.manual_seed(0)
            built = {name: builders[name]()} # one at a time, to keep memory low
            if kind == 'compile': built[name].net = torch.compile(built[name].model)
        print(built[name].run(), flush=True)

class Worker:
    "Another Python process that times variants when asked."
    def __init__(self, kind, args):
        flags = ['--worker', kind] + ['--quick']*args.quick
        self.process = subprocess.Popen([sys.executable, __file__, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, name):
        self.process.stdin.write(name + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer: raise InputError(f'the process that times {name} has stopped')
        return float(answer)

    def __enter__(self): return self
    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

def images_in(training):
    "Images that a round really takes."
    return training.n//training.batches.batch_size*training.batches.batch_size

def compare(name, base, builders, repeats):
    "Time `name` and `base` in turn; returns a row, and the seconds of both."
    torch.manual_seed(0)
    a, b = builders[base](), builders[name]()
    times = alternate(dict(base=a.run, this=b.run), repeats)
    return make_row(name, base, times, images_in(b)), times

def make_row(name, base, times, n):
    "A row of the table, from the seconds of the two."
    s = spread(ratios(times['base'], times['this']))
    return dict(name=name, relative_to=base, ratio=s, images_per_second=n/spread(times['this'])['median'])

def main(args):
    n = 512 if args.quick else 1536
    if args.worker: return work(args.worker, n)
    builders, rows, seconds = variants(n), [], {}
    modes = ['channels_last', 'bf16', 'bf16 + channels_last']
    pairs = [(name, 'baseline') for name in builders if name != 'baseline' and not name.startswith(('preset', 'worn', 'nearest + conv,'))]
    pairs += [('nearest + conv, channels_last', 'nearest + conv')] + [(f'preset {p} {m}', f'preset {p}') for p in ('mnist', 'celeba') for m in modes]
    if args.quick: pairs = [p for p in pairs if p[0] in ('silu', 'max pool', 'bf16', 'preset mnist bf16')]
    for name,base in pairs:
        line, seconds[name] = compare(name, base, builders, args.repeats)
        rows.append(line)
        print(f'{name:32} {line["ratio"]["median"]:.2f}', flush=True)
    for kind,pairs in SECOND.items():
        if kind == 'compile' and not args.compile: continue
        with Worker(kind, args) as worker:
            for name,base in pairs[:1] if args.quick else pairs:
                torch.manual_seed(0)
                here = builders[base]()
                times = alternate(dict(base=here.run, this=lambda: worker.run(name)), args.repeats)
                line, seconds[f'{name}, {kind}'] = make_row(f'{name}, {kind}', base, times, images_in(here)), times
                rows.append(line)
                print(f'{line["name"]:32} {line["ratio"]["median"]:.2f}', flush=True)
    best = max((r for r in rows if r['relative_to'] == 'preset mnist'), key=lambda r: r['ratio']['median'])
    times = seconds[best['name']]
    print()
    report('layers', (times['base'], times['this']), TARGET, rows, write=not args.quick, what=f'images per second, {best["name"]} over preset mnist', images_a_round=n)

if __name__ == '__main__':
    p = parser(__doc__)
    p.add_argument('--compile', action='store_true', help='also time torch.compile, which takes minutes')
    p.add_argument('--worker', choices=list(SECOND), help='(how the script starts its second process)')
    run(main, p)
