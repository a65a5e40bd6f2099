"""Write README.md from nbs/index.ipynb and its stored outputs: `python tools/readme.py [--check]`.

Quarto does the same through `nbdev_readme`; this needs only Python, so that a test can compare the two files."""
import argparse, base64, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = Path('nbs')/'index_files'


def option(source, name):
    "Value of the Quarto option `#| name: value` in a cell's source, or ''."
    found = re.search(rf'^#\|\s*{name}:\s*(.*)$', source, re.M)
    return found[1].strip().strip('"') if found else ''


def cell_parts(cell, files):
    "Markdown of one cell; pictures it holds are added to `files`."
    source = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
        # Links between chapters are notebooks here and pages on the site
        yield re.sub(r'\]\((?!\w+:|#)([\w./-]+\.ipynb)', r'](nbs/\1', source)
        return
    if re.search(r'^#\|\s*hide\b', source, re.M): return
    code = '\n'.join(l for l in source.splitlines() if not l.startswith('#|')).strip()
    if option(source, 'echo') != 'false': yield f'```python\n{code}\n```'
    for out in cell['outputs']:
        data = out.get('data', {})
        if 'image/png' in data:
            path = IMAGES/f"{cell['id']}.png"
            files[path] = base64.b64decode(''.join(data['image/png']))
            yield f"![{option(source, 'fig-alt')}]({path.as_posix()})"
        elif 'name' in out or 'text/plain' in data:
            text = ''.join(out.get('text', data.get('text/plain', []))).rstrip()
            if text: yield f'```\n{text}\n```'


def build():
    "Contents of README.md and of its pictures, by path."
    nb, files = json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8')), {}
    parts = [p for cell in nb['cells'] for p in cell_parts(cell, files)]
    note = '<!-- Written from nbs/index.ipynb by `make prepare`: edit that. -->'
    files[Path('README.md')] = '\n\n'.join([note, *parts, '']).encode()
    return files


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail when a file differs')
    check, files = parser.parse_args().check, build()
    stale = [p for p, data in files.items() if not (ROOT/p).exists() or (ROOT/p).read_bytes() != data]
    extra = [p for p in (ROOT/IMAGES).glob('*') if p.relative_to(ROOT) not in files]
    if check and (stale or extra): sys.exit('README.md or its pictures differ from nbs/index.ipynb: run `make prepare`')
    if not check:
        for p in extra: p.unlink()
        for p in stale:
            (ROOT/p).parent.mkdir(parents=True, exist_ok=True)
            (ROOT/p).write_bytes(files[p])
