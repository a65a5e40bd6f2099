"""Fail on a reference that leads nowhere, an unchecked equation, another address than settings.ini's, or noise in the stored outputs.

Quarto renders an unresolved `@fig-…` or `@eq-…` as `?@fig-…` and still succeeds, so the notebooks are checked as text."""
import json, re, sys
from pathlib import Path
from nbdev.config import get_config

NBS = Path(__file__).resolve().parent.parent/'nbs'


def anchor(heading):
    "The anchor that a heading gets on the site."
    return re.sub(r'[^\w\- ]', '', re.sub(r'[`*$]', '', heading).strip().lower()).replace(' ', '-')


def read(path):
    "Cells, Markdown and code of a notebook."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    text = {kind: '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == kind) for kind in ('markdown', 'code')}
    return cells, text['markdown'], text['code']


def complaints(name, chapters, anchors):
    "What is wrong with one chapter, a line each."
    cells, prose, code = chapters[name]
    equations = set(re.findall(r'\{#(eq-[\w-]+)\}', prose))
    labels = equations | set(re.findall(r'#\|\s*label:\s*(\S+)', code))
    for ref in sorted(set(re.findall(r'@((?:eq|fig|tbl)-[\w-]+)', prose + code)) - labels): yield f'@{ref} is not defined'
    for eq in sorted(equations):
        if f'@{eq}' not in code: yield f'{eq} is checked by no cell'
        if f'@{eq}' not in prose: yield f'{eq} is never referred to'
    for target, part in re.findall(r'\]\(([\w-]+\.ipynb)?(#[\w-]+)?\)', prose):
        if (target or name) not in chapters: yield f'link to {target}, which is not there'
        elif part and part[1:] not in anchors[target or name]: yield f'link to {target}{part}, which is not there'
    home = get_config().git_url
    for url in re.findall(rf'https://github\.com/[\w-]+/{get_config().repo}\b', prose):
        if url != home: yield f'{url} is not the address in settings.ini, {home}'
    for i, cell in enumerate(cells):
        outputs, source = cell.get('outputs', []), ''.join(cell['source'])
        if any('image/png' in o.get('data', {}) for o in outputs) and not re.search(r'#\|\s*fig-alt', source): yield f'cell {i} has a figure without fig-alt'
        if any(o['output_type'] == 'error' or o.get('name') == 'stderr' for o in outputs): yield f'cell {i} has a stored error or warning'


if __name__ == '__main__':
    chapters = {p.name: read(p) for p in sorted(NBS.glob('*.ipynb'))}
    anchors = {name: {anchor(h) for h in re.findall(r'(?m)^#+ (.+)$', prose)} for name, (_, prose, _) in chapters.items()}
    found = [f'{name}: {c}' for name in chapters for c in complaints(name, chapters, anchors)]
    if found: sys.exit('\n'.join(found))
