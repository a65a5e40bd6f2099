"""Run chapters in a real kernel and store their outputs: `python tools/run.py [NOTEBOOK ...] [--flags "slow data"]`.

Without names every chapter runs. Cells marked `#| eval: false`, and flagged cells not asked for, keep the outputs they have.
A chapter is written only when all of it ran; its metadata then carries the hash of the code that made the outputs."""
import argparse, sys, time
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


def runs(cell, skip):
    "Does this cell run, going by nbdev's directives?"
    if cell.cell_type != 'code': return False
    direc = extract_directives(nbformat.from_dict(dict(cell)), remove=False)
    return (direc.get('eval:') or [''])[0].lower() != 'false' and not skip & direc.keys()


def run(path, flags=''):
    "Execute the notebook at `path` and write it back with its outputs; return the seconds it took."
    nb, start = nbformat.read(path, as_version=4), time.time()
    skip = set(get_config().tst_flags.split()) - set(flags.split())
    client = NotebookClient(nb, timeout=None, kernel_name='python3', coalesce_streams=True, resources={'metadata': {'path': str(path.parent)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if runs(cell, skip): client.execute_cell(cell, i)
    noisy = [i for i, c in enumerate(nb.cells) if any(o.get('name') == 'stderr' for o in c.get('outputs', []))]
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
