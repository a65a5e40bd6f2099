"""Let every chapter open and run on Colab, from the address in settings.ini alone: `python tools/colab.py --check` or `--write`.

A chapter begins with four cells: title and one sentence, which nbdev takes for itself, dropping whatever else stands in that cell; the
badge; the rest of the introduction; and a hidden cell that installs the package on Colab and does nothing elsewhere.
Where the stored outputs were up to date, so they stay: the new cell changes none of them, and the hash of the code is renewed."""
import argparse, copy, json, re, sys
from pathlib import Path
from nbdev.config import get_config
from freshness import NBS, code_hash

COLAB = 'https://colab.research.google.com'
INSTALL = """#| hide
if 'google.colab' in str(get_ipython()): get_ipython().system('pip install -q "{lib}[course] @ git+{url}"')"""


def make(kind, id, text):
    "A cell."
    cell = dict(cell_type=kind, id=id, metadata={}, source=text.splitlines(keepends=True))
    return cell | dict(execution_count=None, outputs=[]) if kind == 'code' else cell


def badge(name):
    "The link that opens a chapter on Colab."
    cfg = get_config()
    page = cfg.git_url.replace('https://github.com', f'{COLAB}/github')
    image = f'<img src="{COLAB}/assets/colab-badge.svg" alt="Open in Colab">' # in HTML, or Quarto's lightbox takes the link away
    return f'<a href="{page}/blob/{cfg.branch}/{cfg.nbs_path.name}/{name}">{image}</a>'


def prepare(nb, name):
    "The notebook `name` as it should be; one without a number only has its introduction parted from its title."
    nb, cfg = copy.deepcopy(nb), get_config()
    cells = [c for c in nb['cells'] if c['id'] not in ('colab-badge', 'colab-install')]
    title = next(c for c in cells if c['cell_type'] == 'markdown' and re.match('# ', ''.join(c['source'])))
    cells.remove(title)
    head, rest = re.match(r'(# [^\n]*\n*(?:>[^\n]*\n?)*)(.*)', ''.join(title['source']), re.S).groups()
    if rest.strip(): cells.insert(0, make('markdown', f"{title['id']}-intro", rest.strip()))
    if re.match(r'\d', name):
        first = next(i for i,c in enumerate(cells) if c['cell_type'] == 'code')
        cells.insert(first, make('code', 'colab-install', INSTALL.format(url=cfg.git_url, lib=cfg.lib_name)))
        cells.insert(0, make('markdown', 'colab-badge', badge(name)))
    was_fresh = nb['metadata'].get('vae_nbdev', {}).get('code_hash') == code_hash(nb)
    nb['cells'] = [title | dict(source=head.strip().splitlines(keepends=True)), *cells]
    if was_fresh: nb['metadata']['vae_nbdev']['code_hash'] = code_hash(nb)
    return nb


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail when a notebook would change')
    parser.add_argument('--write', action='store_true', help='write the notebooks that change')
    parser.add_argument('notebooks', nargs='*', type=Path, help='notebooks (default: all)')
    args = parser.parse_args()
    if args.check == args.write: parser.error('say either --check or --write')
    changed = []
    for path in args.notebooks or sorted(NBS.glob('*.ipynb')):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if (new := prepare(nb, path.name)) == nb: continue
        changed.append(path.name)
        if args.write: path.write_text(json.dumps(new, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    if args.check and changed: sys.exit(f"not as Colab and the site need them: {', '.join(changed)}: run `python tools/colab.py --write`")
