"""Every chapter as a stranger runs it: from the wheel alone, in a clean environment, in an empty folder. How long does each take?

Builds the wheel, installs it by pip with the extras that a chapter installs on Colab, far from the checkout; puts each chapter alone into an
empty folder and runs it there, without its flagged cells. A chapter that fails is named, and nothing is written. The environment
takes some gigabytes; it is removed afterwards. Of named notebooks alone the seconds are replaced, and `cpus` says which processor each was measured on."""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, venv
from datetime import date
from pathlib import Path
from nbdev.config import get_config
from vae_nbdev.core import InputError, write_whole
from common import RESULTS, Parser, command, machine, run, versions

ROOT = RESULTS.parent
RUNNER = '''
import re, sys, time
import nbformat
from nbclient import NotebookClient
nb, start = nbformat.read(sys.argv[1], as_version=4), time.time()
skipped = re.compile(rf'#\\| *(eval: *false|{sys.argv[2]})\\s*$', re.M)
client = NotebookClient(nb, timeout=None, kernel_name='python3')
with client.setup_kernel():
    for i,cell in enumerate(nb.cells):
        if cell.cell_type == 'code' and not skipped.search(cell.source): client.execute_cell(cell, i)
print(time.time() - start)
'''

def call(*args, **how):
    "Run a command quietly and return what it printed, which is shown when it fails."
    done = subprocess.run([str(a) for a in args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    if done.returncode: raise RuntimeError(done.stdout[-3000:])
    return done.stdout

def install(folder):
    "Build the wheel and install it in a new environment in `folder`; return the wheel and the environment's Python."
    call(sys.executable, '-m', 'build', '--wheel', '--outdir', folder, ROOT)
    wheel = next(folder.glob('*.whl'))
    venv.create(folder/'env', with_pip=True)
    python = next(p for p in (folder/'env/bin/python', folder/'env/Scripts/python.exe') if p.exists())
    print(f'installing {wheel.name} ({wheel.stat().st_size/1e6:.1f} MB)', flush=True)
    call(python, '-m', 'pip', 'install', '--quiet', f'{wheel}[course]', 'nbclient', 'ipykernel', cwd=folder)
    return wheel, python

def main(args):
    chapters = [p.resolve() for p in args.notebooks] or sorted(p for p in (ROOT/'nbs').glob('*.ipynb') if re.match(r'\d', p.name))
    for p in chapters:
        if not p.is_file(): raise InputError(f'there is no notebook {p.name}')
    env = {k: v for k,v in os.environ.items() if not k.startswith(('VAE_NBDEV', 'PYTHONPATH'))}
    flags = '|'.join(get_config().tst_flags.split())
    seconds, folder = {}, Path(tempfile.mkdtemp(prefix='chapters'))
    try:
        wheel, python = install(folder)
        (folder/'runner.py').write_text(RUNNER)
        for path in chapters:
            alone = folder/path.stem
            alone.mkdir()
            shutil.copy(path, alone)
            try:
                seconds[path.stem] = float(call(python, folder/'runner.py', path.name, flags, cwd=alone, env=env).split()[-1])
                print(f'{path.stem:<16} {seconds[path.stem]:4.0f} s', flush=True)
            except RuntimeError as e: print(f'{path.stem}: failed\n{e}', file=sys.stderr, flush=True)
        size = wheel.stat().st_size
    finally: shutil.rmtree(folder, ignore_errors=True)
    failed = [p.stem for p in chapters if p.stem not in seconds]
    print(f'{len(seconds)} chapters in {sum(seconds.values())/60:.1f} minutes')
    if failed: sys.exit(f"not from the wheel alone: {', '.join(failed)}")
    cpus = {name: machine()['cpu'] for name in seconds}
    if args.notebooks: # the others were measured before
        old = json.loads((RESULTS/'chapters.json').read_text(encoding='utf-8'))
        cpus = old.get('cpus', {name: old['machine']['cpu'] for name in old['seconds']}) | cpus
        seconds = old['seconds'] | seconds
    there = {p.stem for p in (ROOT/'nbs').glob('*.ipynb')}
    seconds = {name: t for name,t in sorted(seconds.items()) if name in there}
    result = dict(name='chapters', seconds=seconds, cpus={name: cpus[name] for name in seconds}, wheel_bytes=size, machine=machine(), versions=versions(), command=command(), date=date.today().isoformat())
    with write_whole(RESULTS/'chapters.json') as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('notebooks', nargs='*', type=Path, help='notebooks (default: all chapters); the seconds of the others stay')
    p.set_defaults(repeats=1, quick=False)
    run(main, p)
