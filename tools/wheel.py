"""Run every chapter as a stranger would: `python tools/wheel.py [NOTEBOOK ...]`.

Builds the wheel, installs it with pip into a new environment far from the checkout, puts each chapter alone into an empty folder and runs it
there, without its flagged cells; the extras are those that a chapter installs on Colab. Prints the seconds of each. The folder with environment (gigabytes) and wheel is removed afterwards."""
import argparse, os, re, shutil, subprocess, sys, tempfile, venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNNER = '''
import re, sys, time
import nbformat
from nbclient import NotebookClient
nb, start = nbformat.read(sys.argv[1], as_version=4), time.time()
skipped = re.compile(r'#\\| *(eval: *false|slow|data)\\s*$', re.M)
client = NotebookClient(nb, timeout=None, kernel_name='python3')
with client.setup_kernel():
    for i,cell in enumerate(nb.cells):
        if cell.cell_type == 'code' and not skipped.search(cell.source): client.execute_cell(cell, i)
print(f'{time.time() - start:.0f} s')
'''


def run(*command, **how):
    "Run a command quietly; its output is shown when it fails."
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    if done.returncode: raise RuntimeError(done.stdout[-4000:])
    return done.stdout


def main(notebooks):
    env = {k: v for k,v in os.environ.items() if not k.startswith(('VAE_NBDEV', 'PYTHONPATH'))}
    failed, tmp = [], Path(tempfile.mkdtemp(prefix='wheel'))
    try:
        run(sys.executable, '-m', 'build', '--wheel', '--outdir', tmp, ROOT)
        wheel = next(tmp.glob('*.whl'))
        venv.create(tmp/'env', with_pip=True)
        python = next(p for p in (tmp/'env/bin/python', tmp/'env/Scripts/python.exe') if p.exists())
        print(f'{wheel.name}: {wheel.stat().st_size/1e6:.1f} MB; installing it in {tmp/"env"}', flush=True)
        run(python, '-m', 'pip', 'install', '--quiet', f'{wheel}[metrics,track]', 'nbclient', 'ipykernel', cwd=tmp)
        (tmp/'runner.py').write_text(RUNNER)
        for path in notebooks:
            alone = tmp/path.stem
            alone.mkdir()
            shutil.copy(path, alone)
            try: print(f'{path.name}: {run(python, tmp/"runner.py", path.name, cwd=alone, env=env).splitlines()[-1]}', flush=True)
            except RuntimeError as e:
                failed.append(path.name)
                print(f'{path.name}: failed\n{e}', file=sys.stderr, flush=True)
    finally: shutil.rmtree(tmp, ignore_errors=True)
    if failed: sys.exit(f"not from the wheel alone: {', '.join(failed)}")


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('notebooks', nargs='*', type=Path, help='notebooks (default: all chapters)')
    args = parser.parse_args()
    main([p.resolve() for p in args.notebooks] or sorted(p for p in (ROOT/'nbs').glob('*.ipynb') if re.match(r'\d', p.name)))
