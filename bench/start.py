"""How soon do the commands answer, and what does each module import?

Seconds from starting a new Python to its end, for `vae_train --help`, for `vae_generate --info_only` on a small model trained on the fly,
and, to compare, for Python alone and for `import torch`. Then, for each module of vae_nbdev, which large packages `python -X importtime`
sees, and how many seconds their own modules take there. `unwanted` lists what should not be there: torchvision, scikit-learn and the trackers when any
module is imported, and torch when help is printed. Headline: seconds of `vae_train --help`; the target is an upper limit.
"""
import os, pkgutil, re, subprocess, sys
from collections import Counter
from functools import partial
from tempfile import TemporaryDirectory
import vae_nbdev
from vae_nbdev.core import InputError
from common import alternate, parser, report, row, run

TARGET = 0.5
LARGE = 'torch', 'torchvision', 'sklearn', 'accelerate', 'wandb', 'tensorboard', 'matplotlib', 'IPython', 'ipywidgets', 'huggingface_hub', 'pandas', 'scipy'
NEVER = {'torchvision', 'sklearn', 'wandb', 'tensorboard', 'pandas'}

def python(*args, folder=None):
    "Run a new Python; returns what it wrote to standard error."
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=folder)
    if done.returncode: raise InputError(f'python {" ".join(args)} failed: {(done.stderr.strip().splitlines() or ["without a word"])[-1]}')
    return done.stderr

def command(name, *args): return '-c', f'import sys; sys.argv = {[name, *args]!r}; from vae_nbdev.cli import main; main()'

def imported(*args):
    "Seconds of the whole import, and of each package in it that is large or takes 50 ms: the time of its own modules."
    own = Counter()
    for microseconds, name in re.findall(r'import time:\s+(\d+) \|\s+\d+ \|\s+([^.\s]+)', python('-X', 'importtime', *args)): own[name] += int(microseconds)/1e6
    return dict(all=sum(own.values())) | {name: t for name,t in own.most_common() if name in LARGE or t > 0.05}

def main(args):
    with TemporaryDirectory() as folder:
        python(*command('vae_train', 'tiny', '--dataset', 'digits', '--num_epochs', '1', '--limit', '64', '--runs', folder), folder=folder)
        starts = {'python': ('-c', 'pass'), 'import torch': ('-c', 'import torch'), 'vae_train --help': command('vae_train', '--help'),
                  'vae_generate --info_only': command('vae_generate', '--info_only', '--checkpoint_path', os.path.join(folder, 'tiny'))}
        times = alternate({name: partial(lambda a: python(*a) and None, a) for name,a in starts.items()}, args.repeats)
    modules = [m.name for m in pkgutil.iter_modules(vae_nbdev.__path__) if not m.name.startswith('_')]
    if args.quick: modules = ['data']
    imports = {'vae_train --help': imported(*command('vae_train', '--help'))} | {m: imported('-c', f'import vae_nbdev.{m}') for m in modules}
    unwanted = [f'{m}: {name}' for m,found in imports.items() for name in found if name in NEVER or m == 'vae_train --help' and name in LARGE]
    for m,found in imports.items(): print(f'{m:18} {found["all"]:6.2f} s ', ', '.join(f'{k} {v:.2f}' for k,v in found.items() if k != 'all'))
    print('unwanted:', '; '.join(unwanted) or 'nothing', '\n')
    report('start', (times['vae_train --help'], [1.]*args.repeats), TARGET, [row(name, t) for name,t in times.items()], at_most=True, write=not args.quick,
           packages=('matplotlib', 'ipywidgets', 'huggingface_hub'), what='seconds of vae_train --help', imports=imports, unwanted=unwanted)

if __name__ == '__main__': run(main, parser(__doc__, repeats=5))
