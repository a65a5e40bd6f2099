"""Does a run belong to one process? Real `vae_train` commands, two at a time, on one folder.

Three cases, each repeated: two starts with different seeds; `--overwrite` while the run is training;
two `--resume` of a run that was killed. The second command begins up to 0.3 seconds after the first, by
chance before or after it has the folder. In every pair one command must succeed, and the other must end
with status 2 and one line; the folder must hold the winner's run and nothing else, byte for byte what an
unbroken run of its seed leaves. Last line: `60 pairs, 60 won by one, 60 whole`.
"""
import argparse, json, os, random, shutil, sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from vae_nbdev.checkpoint import list_checkpoints
from vae_nbdev.core import InputError, check_range, write_whole
from common import RESULTS, Parser, command, machine, run, versions
from kills import files, settings_of, start, train

DELAY = 0.3 # seconds, at most, between the two starts
LONGER = 5 # times as many epochs, so that a run still trains when the other command is up

def race(folder, first, second, rng):
    "Two commands at once; for each its status, its words, and whether it was the first."
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(train, folder, *first)
        sleep(rng.uniform(0, DELAY))
        two = pool.submit(train, folder, *second)
        return one.result(), two.result()

def two_starts(folder, flags, rng):
    "Two starts with different seeds."
    return race(folder, [*flags, '--seed', '0'], [*flags, '--seed', '1'], rng)

def overwrite(folder, flags, rng):
    "A run is training when another command wants to replace it."
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(train, folder, *flags, '--seed', '0')
        while not list_checkpoints(folder/'checkpoints'):
            if one.done(): raise InputError(f'the run ended early: {one.result()}')
            sleep(0.02)
        two = train(folder, *flags, '--seed', '1', '--overwrite')
        return one.result(), two

def two_resumes(folder, flags, rng):
    "A run is killed when it has a state, and taken up by two at once."
    with start(folder, *flags, '--seed', '0') as p:
        while not list_checkpoints(folder/'checkpoints'):
            if p.poll() is not None: raise InputError(f'the run ended early: {p.stderr.read()}')
            sleep(0.02)
        p.kill()
    return race(folder, ['--resume'], ['--resume'], rng)

CASES = {'two starts': two_starts, 'overwrite': overwrite, 'two resumes': two_resumes}

def judge(folder, ends, expected):
    "What a pair of commands left: who won, what the other said, whose run the folder is."
    won = [i for i,(status,_) in enumerate(ends) if status == 0]
    told = [said.strip() for status,said in ends if status == 2 and len(said.strip().splitlines()) == 1]
    found = files(folder)
    seed = json.loads(found['config.json'])['train']['seed']
    strangers = [p.name for p in folder.iterdir() if p.name.startswith('.') and p.name != '.lock']
    beside = [p.name for p in folder.parent.iterdir() if p.name.startswith(f'.{folder.name}')]
    return dict(status=[status for status,_ in ends], told=told, seed=seed,
                one=len(won) == 1 and len(told) == 1, leftovers=strangers + beside,
                whole=found == expected[seed] and not strangers + beside)

def main(args):
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    rng, path = random.Random(args.seed), RESULTS/'races.json'
    rows = [r for r in json.loads(path.read_text())['rows'] if r['case'] != args.case] if args.case else []
    with TemporaryDirectory() as tmp:
        for name, pair in CASES.items():
            if args.case not in (None, name): continue
            epochs = args.epochs*(1 if pair is two_starts else LONGER)
            flags, expected = settings_of('digits', 'no', epochs), {}
            for seed in (0, 1):
                folder = Path(tmp)/f'unbroken-{epochs}-{seed}'/'r'
                if not folder.exists():
                    status, said = train(folder, *flags, '--seed', str(seed))
                    if status: raise InputError(f'the unbroken run failed: {said.strip()}')
                expected[seed] = files(folder)
            for i in range(args.repeats):
                folder = Path(tmp)/f'{name.replace(" ", "-")}-{i}'/'r'
                rows.append(dict(case=name, epochs=epochs) | judge(folder, pair(folder, flags, rng), expected))
                shutil.rmtree(folder.parent)
                row = rows[-1]
                how = 'whole' if row['whole'] else 'mixed'
                print(f'{name} {i:>2}: status {row["status"]}, seed {row["seed"]}, {how}:',
                      *row['told'], flush=True)
    one, whole = (sum(r[k] for r in rows) for k in ('one', 'whole'))
    result = dict(name='races', pairs=len(rows), one=one, whole=whole, settings=' '.join(flags),
                  seed=args.seed, rows=rows, machine=machine(), versions=versions('safetensors'),
                  command=command(), date=date.today().isoformat())
    if not args.quick:
        with write_whole(path) as f:
            f.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'{len(rows)} pairs, {one} won by one, {whole} whole')
    sys.exit(min(one, whole) < len(rows))

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value, text in (('repeats', 20, 'pairs of each case'), ('epochs', 12, 'epochs of a run'),
                              ('seed', 0, 'seed of the delays')):
        p.add_argument(f'--{name}', type=int, default=value, metavar='N', help=f'{text} (default: {value})')
    p.add_argument('--case', choices=CASES, help='this case alone; what is stored of the others stays')
    p.add_argument('--quick', action='store_true', help='two pairs of each; writes nothing')
    def checked(args):
        for name in ('repeats', 'epochs'): check_range(getattr(args, name), name, 1)
        if args.quick: args.repeats = 2
        main(args)
    run(checked, p)
