"""Does a run survive `kill -9`? Real `vae_train` commands, killed at random times and resumed, compared byte by byte with an unbroken one.

An unbroken run on the digits gives the expected files and the length of a run. Then each run is started, killed by SIGKILL at a time drawn
uniformly from that length, which includes the import of PyTorch and the drawing at the end, and taken up with `--resume`, to be killed
again or not as it comes, at most four times. A run that was killed before it had written its settings is started again. Checkpoints are
written every 0.3 seconds. Compared are config.json, history.csv, both files of weights, the pictures and the last checkpoint, name and bytes.
Last line: `20 runs, 41 kills, 20 identical`.
"""
import argparse, json, os, random, subprocess, sys
from collections import Counter
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from vae_nbdev.checkpoint import list_checkpoints
from vae_nbdev.core import InputError, check_range, write_whole
from common import RESULTS, Parser, command, machine, run, versions

SETTINGS = '--num_epochs', '20', '--save_minutes', '0.005', '--ema_decay', '0.9', '--beta_annealing_period', '2'
FILES = 'config.json', 'history.csv', 'model.safetensors', 'last.safetensors', 'samples.png', 'reconstructions.png', 'history.png'
MAX_KILLS = 4
STAGES = 'before its settings were written', 'before its first checkpoint', 'in mid-epoch or after an epoch', 'after the last epoch'

def train(folder, *flags, after=None):
    "Run the command, and kill it after some seconds; returns its exit status, None when it was killed, and what it said."
    args = [sys.executable, '-m', 'vae_nbdev.cli', 'vae_train', folder.name, '--runs', str(folder.parent), *flags]
    with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as p:
        try: said = p.communicate(timeout=after)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            return None, p.communicate()[1]
    return p.returncode, said

def stage(folder, epochs=SETTINGS[1]):
    "How far a run has come."
    if not (folder/'config.json').exists(): return STAGES[0]
    states = list_checkpoints(folder/'checkpoints')
    return STAGES[1] if not states else STAGES[3] if states[-1].name.startswith(f'epoch_{int(epochs):05d}') else STAGES[2]

def files(folder):
    "What is compared: contents by name."
    return {p.name: p.read_bytes() for p in [*(folder/name for name in FILES), list_checkpoints(folder/'checkpoints')[-1]]}

def survive(folder, seconds, rng):
    "Start, kill and resume a run until it is complete; returns the kills, each with its time and stage."
    kills = []
    while True:
        flags = ['--resume'] if (folder/'config.json').exists() else SETTINGS
        after = rng.uniform(0, seconds) if len(kills) < MAX_KILLS else None
        status, said = train(folder, *flags, after=after)
        if status == 0 or status == 2 and 'is finished' in said: return kills # killed between the last file and the exit
        if status is not None: raise InputError(f'vae_train ended with status {status}: {said.strip()}')
        kills.append(dict(seconds=round(after, 2), stage=stage(folder)))

def main(args):
    rng, rows = random.Random(args.seed), []
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with TemporaryDirectory() as tmp:
        folder, start = Path(tmp), perf_counter()
        status, said = train(folder/'unbroken', *SETTINGS)
        if status: raise InputError(f'the unbroken run failed: {said.strip()}')
        seconds, expected = perf_counter() - start, files(folder/'unbroken')
        print(f'unbroken: {seconds:.1f} s')
        for i in range(args.runs):
            kills = survive(folder/f'run{i}', seconds, rng)
            found = files(folder/f'run{i}')
            differ = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
            rows.append(dict(run=i, kills=kills, identical=not differ, differ=differ))
            print(f'run {i:>2}:', ', '.join(f'{k["seconds"]:.1f} s {k["stage"]}' for k in kills) or 'not killed in time', '->', 'identical' if not differ else f'different: {", ".join(differ)}', flush=True)
    kills, identical = sum(len(r['kills']) for r in rows), sum(r['identical'] for r in rows)
    stages = Counter(k['stage'] for r in rows for k in r['kills'])
    for name in STAGES: print(f'{stages[name]:>4} killed {name}')
    result = dict(name='kills', runs=args.runs, kills=kills, identical=identical, stages={name: stages[name] for name in STAGES}, seconds_unbroken=seconds,
                  settings=' '.join(SETTINGS), seed=args.seed, rows=rows, machine=machine(), versions=versions('safetensors'), command=command(), date=date.today().isoformat())
    if not args.quick:
        with write_whole(RESULTS/'kills.json') as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'{args.runs} runs, {kills} kills, {identical} identical')
    sys.exit(identical < args.runs)

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--runs', type=int, default=20, metavar='N', help='runs that are killed (default: 20)')
    p.add_argument('--seed', type=int, default=0, metavar='N', help='seed of the times (default: 0)')
    p.add_argument('--quick', action='store_true', help='two runs; prints and writes nothing')
    p.set_defaults(repeats=1)
    def checked(args):
        check_range(args.runs, 'runs', 1)
        if args.quick: args.runs = 2
        main(args)
    run(checked, p)
