"""Does a run survive `kill -9`? Real `vae_train` commands, killed and resumed, against an unbroken one.

Each case, a preset with a precision, is first run unbroken; this gives the expected files and the length
of a run. Then runs are started, killed by SIGKILL at a time drawn uniformly from that length, which
includes the import of PyTorch and the drawing at the end, and taken up with `--resume`, to be killed
again or not as it comes, at most four times. A run that was killed before it had written its settings is
started again. Checkpoints are written every 0.3 seconds. Compared, byte by byte, are config.json,
history.csv, both files of weights, the pictures and the last checkpoint with its name. Cases: preset
digits in 32 and in 16 bits; with `--presets` others, each at quick sizes and on digits; with
`--together 2` two runs at once, which share the processor. Last line: `20 runs, 41 kills, 20 identical`.
"""
import argparse, json, os, random, subprocess, sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from vae_nbdev.checkpoint import list_checkpoints
from vae_nbdev.config import PRESETS
from vae_nbdev.core import InputError, check_choice, check_range, write_whole
from common import RESULTS, Parser, command, machine, run, versions

SHARED = '--save_minutes', '0.005', '--ema_decay', '0.9', '--beta_annealing_period', '2'
# what makes any preset quick, and independent of what this machine holds
SMALL = ('--dataset', 'digits', '--image_size', '8', '--width', '8', '--latent_dim', '8',
         '--depth', '2', '--num_blocks', '1')
PRECISIONS = 'no', 'bf16'
FILES = ('config.json', 'history.csv', 'model.safetensors', 'last.safetensors', 'samples.png',
         'reconstructions.png', 'history.png')
MAX_KILLS = 4
STAGES = ('before its settings were written', 'before its first checkpoint',
          'in mid-epoch or after an epoch', 'after the last epoch')

def start(folder, *flags):
    "The command, as a process."
    args = [sys.executable, '-m', 'vae_nbdev.cli', 'vae_train', folder.name,
            '--runs', str(folder.parent), *flags]
    return subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def train(folder, *flags, after=None):
    "Run the command, and kill it after some seconds; its exit status, None if killed, and words."
    with start(folder, *flags) as p:
        try: said = p.communicate(timeout=after)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            return None, p.communicate()[1]
    return p.returncode, said

def stage(folder, epochs):
    "How far a run has come."
    if not (folder/'config.json').exists(): return STAGES[0]
    states = list_checkpoints(folder/'checkpoints')
    if not states: return STAGES[1]
    return STAGES[3] if states[-1].name.startswith(f'epoch_{epochs:05d}') else STAGES[2]

def files(folder):
    "What is compared: contents by name."
    last = list_checkpoints(folder/'checkpoints')[-1]
    return {p.name: p.read_bytes() for p in [*(folder/name for name in FILES), last]}

def survive(folder, settings, epochs, seconds, rng):
    "Start, kill and resume a run until it is complete; returns the kills, with time and stage."
    kills = []
    while True:
        flags = ['--resume'] if (folder/'config.json').exists() else settings
        after = rng.uniform(0, seconds) if len(kills) < MAX_KILLS else None
        status, said = train(folder, *flags, after=after)
        # killed between the last file and the exit
        if status == 0 or status == 2 and 'is finished' in said: return kills
        if status is not None:
            raise InputError(f'vae_train ended with status {status}: {said.strip()}')
        kills.append(dict(seconds=round(after, 2), stage=stage(folder, epochs)))

def settings_of(preset, precision, epochs):
    "Flags of a case; preset digits is trained as it is, the others at quick sizes."
    small = () if preset == 'digits' else SMALL
    weak = ('--feature_weight', '100') if PRESETS[preset].train.feature_weight else ()
    return ['--preset', preset, '--mixed_precision', precision, '--num_epochs', str(epochs),
            *small, *weak, *SHARED]

def run_case(home, name, settings, args, rng):
    "Kill the runs of one case; returns a row for each, and the seconds of the unbroken one."
    start = perf_counter()
    status, said = train(home/f'{name}-unbroken', *settings)
    if status: raise InputError(f'the unbroken run {name} failed: {said.strip()}')
    seconds, expected = perf_counter() - start, files(home/f'{name}-unbroken')
    print(f'{name} unbroken: {seconds:.1f} s', flush=True)
    def one(i):
        folder = home/f'{name}-{i}'
        kills = survive(folder, settings, args.epochs, seconds, random.Random(seeds[i]))
        found = files(folder)
        names = found.keys() | expected.keys()
        differ = sorted(k for k in names if found.get(k) != expected.get(k))
        told = ', '.join(f'{k["seconds"]:.1f} s {k["stage"]}' for k in kills)
        told = told or 'not killed in time'
        how = f'different: {", ".join(differ)}' if differ else 'identical'
        print(f'{name} run {i:>2}: {told} ->', how, flush=True)
        return dict(case=name, run=i, kills=kills, identical=not differ, differ=differ)
    seeds = [rng.getrandbits(32) for _ in range(args.runs)]
    with ThreadPoolExecutor(args.together) as pool:
        return list(pool.map(one, range(args.runs))), seconds

def main(args):
    rng, rows, unbroken = random.Random(args.seed), [], {}
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with TemporaryDirectory() as tmp:
        for preset in args.presets.split(','):
            for precision in PRECISIONS:
                name = f'{preset}-{precision}'
                settings = settings_of(preset, precision, args.epochs)
                found, unbroken[name] = run_case(Path(tmp), name, settings, args, rng)
                rows += found
    kills, identical = sum(len(r['kills']) for r in rows), sum(r['identical'] for r in rows)
    stages = Counter(k['stage'] for r in rows for k in r['kills'])
    for name in STAGES: print(f'{stages[name]:>4} killed {name}')
    result = dict(name='kills', runs=len(rows), kills=kills, identical=identical,
                  stages={name: stages[name] for name in STAGES}, seconds_unbroken=unbroken,
                  presets=args.presets, precisions=PRECISIONS, together=args.together,
                  settings=' '.join(SHARED), epochs=args.epochs, seed=args.seed, rows=rows,
                  machine=machine(), versions=versions('safetensors'), command=command(),
                  date=date.today().isoformat())
    if not args.quick:
        text = json.dumps(result, indent=1) + '\n'
        with write_whole(RESULTS/'kills.json') as tmp: tmp.write_text(text, encoding='utf-8')
    print(f'{len(rows)} runs, {kills} kills, {identical} identical')
    sys.exit(identical < len(rows))

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = dict(runs=(20, 'runs of each case that are killed'), epochs=(20, 'epochs of a run'),
                   together=(1, 'runs at once'), seed=(0, 'seed of the times'))
    for name, (value, text) in numbers.items():
        p.add_argument(f'--{name}', type=int, default=value, metavar='N',
                       help=f'{text} (default: {value})')
    p.add_argument('--presets', default='digits', metavar='NAMES',
                   help=f'separated by commas: {", ".join(PRESETS)}; or all (default: digits)')
    p.add_argument('--quick', action='store_true',
                   help='few runs, of three epochs; prints and writes nothing')
    p.set_defaults(repeats=1)
    def checked(args):
        if args.presets == 'all': args.presets = ','.join(PRESETS)
        for name in args.presets.split(','): check_choice(name, PRESETS, 'preset')
        for name in ('runs', 'epochs', 'together'): check_range(getattr(args, name), name, 1)
        if args.quick: args.runs, args.epochs = args.together, 3
        main(args)
    run(checked, p)
