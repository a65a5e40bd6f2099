"""Run chapters in a real kernel and store their outputs: `python tools/run.py [NOTEBOOK ...] [--flags "slow data"]`.

Without names every chapter runs. Cells marked `#| eval: false`, and flagged cells not asked for, keep the outputs they have.
A chapter is written only when all of it ran; its metadata then carries the hash of the code that made the outputs.
Figures are stored at twice the size at which they are shown, unless that costs a page more than a megabyte."""
import argparse, sys, time
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.process import extract_directives
from execnb.nbio import read_nb, write_nb
sys.path.insert(0, str(Path(__file__).parent))
from freshness import code_hash

NBS = Path(__file__).resolve().parent.parent/'nbs'
SHARP = ["--InlineBackend.figure_formats={'retina'}"] # twice the pixels, and beside them the size to show them at
COST = 1_000_000 # bytes that sharp figures may add to a page


def runs(cell, skip):
    "Does this cell run, going by nbdev's directives?"
    if cell.cell_type != 'code': return False
    direc = extract_directives(nbformat.from_dict(dict(cell)), remove=False)
    return (direc.get('eval:') or [''])[0].lower() != 'false' and not skip & direc.keys()


def halve(png):
    "A picture in base 64 at half its size."
    from PIL import Image
    picture, file = Image.open(BytesIO(b64decode(png))), BytesIO()
    picture.resize((max(1, picture.width//2), max(1, picture.height//2)), Image.Resampling.BOX).save(file, 'png', optimize=True)
    return b64encode(file.getvalue()).decode() + '\n'


def lighten(nb, cost=COST):
    "Halve the sharp figures of a notebook when they cost too much."
    sharp = [o for c in nb.cells for o in c.get('outputs', []) if 'width' in o.get('metadata', {}).get('image/png', {})]
    small = [halve(o['data']['image/png']) for o in sharp]
    if 0.75*sum(len(o['data']['image/png']) - len(s) for o,s in zip(sharp, small)) <= cost: return
    for o, png in zip(sharp, small):
        o['data']['image/png'] = png
        del o['metadata']['image/png']


def run(path, flags=''):
    "Execute the notebook at `path` and write it back with its outputs; return the seconds it took."
    nb, start = nbformat.read(path, as_version=4), time.time()
    skip = set(get_config().tst_flags.split()) - set(flags.split())
    client = NotebookClient(nb, timeout=None, kernel_name='python3', coalesce_streams=True, resources={'metadata': {'path': str(path.parent)}},
                            extra_arguments=SHARP)
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if runs(cell, skip): client.execute_cell(cell, i)
    noisy = [i for i, c in enumerate(nb.cells) if any(o.get('name') == 'stderr' for o in c.get('outputs', []))]
    lighten(nb)
    nbformat.write(nb, path)
    nb = read_nb(path)
    cfg = get_config()
    clean_nb(nb, allowed_metadata_keys=cfg.allowed_metadata_keys.split(), clean_ids=False)
    nb.metadata['vae_nbdev'] = dict(code_hash=code_hash(nb))
    write_nb(nb, path)
    return time.time() - start, noisy


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('notebooks', nargs='*', type=Path, help='notebooks to run (default: all)')
    parser.add_argument('--flags', default='', help='flags whose cells run too, e.g. "slow data"')
    args = parser.parse_args()
    failed = []
    for path in [p.resolve() for p in args.notebooks] or sorted(NBS.glob('*.ipynb')):
        try:
            seconds, noisy = run(path, args.flags)
            print(f'{path.name}: {seconds:.0f} s' + (f'; cells {noisy} wrote to stderr' if noisy else ''), flush=True)
        except CellExecutionError as e:
            failed.append(path.name)
            print(f'{path.name}: not written, a cell failed\n{e}', file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print(f'{path.name}: stopped, not written; the same command keeps finished trainings and goes on with the others', file=sys.stderr)
            sys.exit(130)
    sys.exit(bool(failed))
