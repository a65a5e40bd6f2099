"""What the measurements share: timing in turn, facts about the machine, one form of report.

A script does its measuring in a function of the parsed arguments and ends with `report`:

    def main(args):
        times = alternate(dict(ours=f, peer=g), args.repeats)
        report('loop', (times['peer'], times['ours']), 1.7, [row('ours', times['ours']), row('peer', times['peer'])], write=not args.quick)

    if __name__ == '__main__': run(main, parser(__doc__))

Scripts run with `python bench/NAME.py`; `report` writes results/NAME.json.
"""
import argparse, json, os, platform, sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
import torch
from vae_nbdev.core import InputError, check_range, write_whole

RESULTS = Path(__file__).resolve().parent.parent/'results'
PACKAGES = 'torch', 'torchvision', 'numpy', 'accelerate', 'fastcore', 'vae_nbdev'
CPU_FLAGS = 'avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'

def alternate(functions, repeats=5, warmup=1):
    """Call each function once a round, every second round backwards, so that drift hits all alike.

    Returns the seconds of each, round by round. A function that times itself, or measures something else, returns that number as a float."""
    out = {name: [] for name in functions}
    for i in range(warmup + repeats):
        for name in (list(functions) if i%2 else list(functions)[::-1]):
            start = perf_counter()
            value = functions[name]()
            if not isinstance(value, float): value = perf_counter() - start
            if i >= warmup: out[name].append(value)
    return out

def ratios(numerators, denominators):
    "Ratio of each round."
    return [a/b for a,b in zip(numerators, denominators, strict=True)]

def spread(values):
    "Median, quartiles and extremes; of one or two values the quartiles are the extremes."
    low, _, high = quantiles(values, method='inclusive') if len(values) > 2 else (min(values), 0, max(values))
    return dict(median=median(values), quartiles=[low, high], min=min(values), max=max(values), n=len(values))

def row(name, seconds, images=None, **more):
    "A line of the table: median and spread of the seconds, and images per second where the number of images is given."
    d = dict(name=name, seconds=spread(seconds))
    if images: d['images_per_second'] = images/median(seconds)
    return d | more

def table(rows):
    "Rows as text; of a spread the median is shown, and the quartiles."
    def text(v):
        if isinstance(v, dict): return f'{v["median"]:.4g} [{v["quartiles"][0]:.4g}-{v["quartiles"][1]:.4g}]'
        return f'{v:,.4g}' if isinstance(v, float) and v < 1000 else f'{v:,.0f}' if isinstance(v, (int, float)) else str(v)
    keys = list(dict.fromkeys(k for r in rows for k in r))
    cells = [keys] + [[text(r[k]) if k in r else '' for k in keys] for r in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return '\n'.join('  '.join(c.ljust(w) if j == 0 else c.rjust(w) for j,(c,w) in enumerate(zip(line, widths))).rstrip() for line in cells)

def headline(values, target):
    "`ratio 1.83 [1.78-1.91] target 1.70`: median and quartiles of the rounds."
    s = spread(values)
    return f'ratio {s["median"]:.2f} [{s["quartiles"][0]:.2f}-{s["quartiles"][1]:.2f}] target {target:.2f}'

def report(name, ratio_of, target, rows, at_most=False, write=True, packages=(), before=(), **extra):
    """Print the table and, as the last line, the headline; write results/NAME.json, whole or not at all.

    `ratio_of`: numerators and denominators, a number a round, paired; the ratio is the median of the rounds' ratios, its spread the
    quartiles. `target`: what it should reach, or with `at_most` not exceed. `packages`: further ones whose versions matter.
    `before`: lines to print before the headline."""
    values = ratios(*ratio_of)
    s = spread(values)
    met = s['median'] <= target if at_most else s['median'] >= target
    result = dict(name=name, ratio=s, spread='quartiles of the paired rounds', target=target, at_most=at_most, met=met, rows=rows, **extra,
                  machine=machine(), versions=versions(*packages), command=command(), date=date.today().isoformat())
    print(table(rows))
    if torch.get_num_threads() < (os.cpu_count() or 1): print(f'only {torch.get_num_threads()} of {os.cpu_count()} cores are used')
    for line in before: print(line)
    if at_most: print('the target is an upper limit: less is better')
    if write:
        with write_whole(RESULTS/f'{name}.json') as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(headline(values, target), flush=True)
    return result

def machine():
    "Processor, cores, memory, system, threads, and how busy the machine was with other things."
    info = Path('/proc/cpuinfo')
    lines = dict(l.split(':', 1) for l in info.read_text().splitlines() if ':' in l) if info.exists() else {}
    fields = {k.strip(): v.strip() for k,v in lines.items()}
    memory = os.sysconf('SC_PHYS_PAGES')*os.sysconf('SC_PAGE_SIZE')/2**30 if hasattr(os, 'sysconf') else None
    return dict(cpu=fields.get('model name') or platform.processor(), cores=os.cpu_count(), memory_gib=memory and round(memory, 1),
                cpu_flags=[f for f in CPU_FLAGS if f in fields.get('flags', '').split()], os=platform.platform(), threads=torch.get_num_threads(),
                openmp={k: v for k,v in os.environ.items() if k.startswith(('OMP_', 'MKL_'))}, device='cpu', load_average=[round(v, 2) for v in os.getloadavg()] if hasattr(os, 'getloadavg') else None)

def versions(*more):
    "Versions of Python and of the packages that matter; None for one that is not installed."
    def find(name):
        try: return version(name)
        except PackageNotFoundError: return None
    return dict(python=platform.python_version()) | {name: find(name) for name in (*PACKAGES, *more)}

def command():
    "The command that was given, without paths of this machine."
    return ' '.join([f'python bench/{Path(sys.argv[0]).name}', *sys.argv[1:]])

class Parser(argparse.ArgumentParser):
    "An argument parser that complains in one line."
    def error(self, message): self.exit(2, f'{self.prog}: {message}\n')

def parser(doc, repeats=5):
    "Command line of a measurement: `--repeats` and `--quick`."
    p = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=repeats, metavar='N', help=f'rounds that are measured (default: {repeats})')
    p.add_argument('--quick', action='store_true', help='a try that takes seconds, prints and writes nothing')
    return p

def run(main, parser):
    "Run `main` on the command line; what the user can mend is said in one line, with exit status 2."
    args = parser.parse_args()
    try:
        check_range(args.repeats, 'repeats', 1)
        if args.quick: args.repeats = min(args.repeats, 2)
        main(args)
    except InputError as e: parser.error(str(e))
    except KeyboardInterrupt: sys.exit(130)
