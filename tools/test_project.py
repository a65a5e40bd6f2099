"""Facts that stand in more than one file, and pages that are made from other files."""
import ast, json, re
from pathlib import Path
import pytest
import yaml
from execnb.shell import CaptureShell
from nbdev.config import get_config
from references import ROOT, Page, source
from vae_nbdev.plot import COLORS

GENERATED = 'notation', 'numbers', 'papers'


def markdown(outputs): return [''.join(o['data']['text/markdown']).strip() for o in outputs if 'text/markdown' in o.get('data', {})]


@pytest.mark.parametrize('name', GENERATED)
def test_a_page_made_from_other_files_is_up_to_date(name, monkeypatch):
    monkeypatch.chdir(ROOT/'nbs')
    shell = CaptureShell(Path(f'{name}.ipynb'))
    for cell in json.loads(Path(f'{name}.ipynb').read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] != 'code': continue
        fresh = markdown(shell.run(''.join(cell['source'])))
        assert fresh == markdown(cell['outputs']), f'make run NB=nbs/{name}.ipynb'


def test_the_version_is_the_same_everywhere():
    cfg = get_config()
    citation = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == cfg.version and citation['repository-code'] == cfg.git_url
    assert re.search(rf'(?m)^## {re.escape(cfg.version)}\b', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'))


def luminance(color):
    "Relative luminance of `#rrggbb`, as WCAG defines it."
    parts = [int(color[i:i+2], 16)/255 for i in (1, 3, 5)]
    return sum(w*(p/12.92 if p <= .04045 else ((p + .055)/1.055)**2.4) for w,p in zip((.2126, .7152, .0722), parts))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + .05)/(low + .05)


@pytest.mark.parametrize('theme,page', [('light', '#ffffff'), ('dark', '#222222')])
def test_text_of_the_site_can_be_read(theme, page):
    colors = dict(re.findall(r'\$([\w-]+): (#\w{6})', (ROOT/f'nbs/{theme}.scss').read_text(encoding='utf-8')))
    assert contrast('#ffffff', '#000000') == pytest.approx(21)
    assert contrast(colors['link-color'], page) >= 4.5
    assert contrast('#ffffff', colors['primary']) >= 4.5 # the navigation bar
    assert contrast(colors['text-muted'], page) >= 4.5
    if theme == 'dark': # the light theme's own are dark enough
        assert contrast(colors['code-color'], colors['code-bg']) >= 4.5 and contrast(colors['code-bg'], page) < 1.5 # no pill of light
        assert contrast(colors['breadcrumb-active-color'], page) >= 4.5


def test_captions_can_be_read():
    css = (ROOT/'nbs/styles.css').read_text(encoding='utf-8')
    light, dark = re.findall(r'figcaption \{ color: (#\w{6})', css)
    assert contrast(light, '#ffffff') >= 4.5 and contrast(dark, '#222222') >= 4.5


def test_what_a_rendering_taught():
    "Settings of the site without which a fault that was seen on it comes back."
    site = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))
    html = site['format']['html']
    assert html['respect-user-color-scheme'] and html['code-copy'] == 'hover' # a button over the first line hides it
    assert site['image'] == site['website']['image'] == 'card.png' and (ROOT/'nbs/card.png').exists()
    assert {'card.png', 'llms.txt', 'apilist.txt'} <= set(site['project']['resources'])
    assert get_config().git_url in [item['href'] for item in site['website']['navbar']['right']]
    css = (ROOT/'nbs/styles.css').read_text(encoding='utf-8')
    assert 'mjx-container[display="true"] { min-width: 0 !important; }' in css # or numbered equations push a phone's page sideways
    assert 'main table { display: block; overflow-x: auto; }' in css and 'overflow-wrap: normal; word-break: normal' in css # a phone's tables
    for theme in 'light', 'dark': assert '$web-font-path: false;' in (ROOT/f'nbs/{theme}.scss').read_text(encoding='utf-8')


def test_the_commands_page_begins_with_every_command():
    cells = Page(ROOT/'nbs/37_cli.ipynb').cells
    first = '\n'.join(source(c) for c in cells[:next(i for i,c in enumerate(cells) if '#| export' in source(c))] if c['cell_type'] == 'markdown')
    table = re.search(r'(?ms)^## The commands$(.*?)(?=^## |\Z)', first)[1]
    commands = {line.split('=')[0].strip() for line in get_config().console_scripts.splitlines() if line.strip()}
    assert len(commands) > 10 and commands <= set(re.findall(r'(?m)^\| `(vae_\w+)', table))


def test_the_front_page_begins_with_a_large_picture():
    from base64 import b64decode
    cell = next(c for c in Page(ROOT/'nbs/index.ipynb').cells if any('image/png' in o.get('data', {}) for o in c.get('outputs', [])))
    png = b64decode(''.join(cell['outputs'][0]['data']['image/png']))
    assert int.from_bytes(png[16:20], 'big') >= 1000 and 'by a VAE that comes with the package' in source(cell) # twice the width it is shown at


def test_the_course_can_be_read_in_five_hours():
    "By the measure of the front page, which says it of each chapter: 200 words and fifteen shown lines of code a minute."
    minutes = 0
    for path in sorted((ROOT/'nbs').glob('0[0-8]_*.ipynb')):
        cells = Page(path).cells
        words = sum(len(re.sub(r'(?s)\$\$.*?\$\$', 'equation', source(c)).split()) for c in cells if c['cell_type'] == 'markdown')
        shown = [source(c) for c in cells if c['cell_type'] == 'code' and not re.search(r'(?m)^#\| *hide', source(c))]
        minutes += words/200 + sum(bool(l.strip()) and not l.startswith('#|') for c in shown for l in c.splitlines())/15
    assert 200 < minutes <= 300


def test_the_same_quarto_everywhere():
    pinned = re.search(r'quarto-actions/setup@v\d+\s+with: \{version: ([\d.]+)\}', (ROOT/'.github/workflows/deploy.yaml').read_text(encoding='utf-8'))[1]
    assert set(re.findall(r'Quarto ([\d.]+\d)|/v([\d.]+\d)', (ROOT/'Makefile').read_text(encoding='utf-8'))) == {(pinned, ''), ('', pinned)}


TEXT = 'set_xlabel', 'set_ylabel', 'set_title', 'suptitle', 'text', 'annotate'

@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('*.ipynb')), ids=lambda p: p.stem)
def test_text_in_figures_can_be_read(path):
    for cell in Page(path).cells:
        for call in ast.walk(ast.parse(source(cell) if cell['cell_type'] == 'code' else '')):
            if not isinstance(call, ast.Call) or getattr(call.func, 'attr', '') not in TEXT: continue
            for name in [k.value.slice.value for k in call.keywords if k.arg == 'color' and isinstance(k.value, ast.Subscript)]:
                assert contrast(COLORS[name], '#ffffff') >= 4.5, f'{ast.unparse(call)}: too pale on white'
