"""Each complaint of references.py, on a page that deserves it; and none on a page that does not."""
import json
import pytest
from nbdev.config import get_config
from references import CHECKS, ROOT, Page, check_bibliography, check_citations, check_map, check_numbers, check_sidebar, check_title

FIGURE = '#| label: fig-a\n#| fig-cap: "A line."\n#| fig-alt: "A line that rises."\n'
PNG = dict(output_type='display_data', data={'image/png': ''})
HOME = get_config().git_url


def write(folder, *cells, name='01_page.ipynb'):
    "A page with these cells: a text is Markdown, a text and outputs are code."
    made = [dict(cell_type='markdown', source=[c]) if isinstance(c, str) else dict(cell_type='code', source=[c[0]], outputs=c[1]) for c in cells]
    (folder/name).write_text(json.dumps(dict(cells=made)), encoding='utf-8')
    return Page(folder/name)


def found(page): return [c for check in CHECKS for c in check(page)]


BADGE = '<a href="x"><img src="colab-badge.svg" alt="Open in Colab"></a>'
GOOD = ('# Title\n\n> One sentence.', BADGE, '## A part\n\nText with $x^2$, `a[0](b)`, a [link](#a-part), another [one](https://arxiv.org/abs/1312.6114).',
        '$$ a = b $$ {#eq-a}\n\n@eq-a is seen in @fig-a.\n\n```sh\n# no heading\n```', ('#| export\nimport math', []), (FIGURE + 'plot() # checks @eq-a', [PNG]))

def test_a_good_page(tmp_path): assert found(write(tmp_path, *GOOD)) == []


@pytest.mark.parametrize('cell,complaint', [
    ('See @fig-b.', '@fig-b is not defined'),
    ('See @tbl-b.', '@tbl-b is not defined'),
    (('# checks @eq-b', []), '@eq-b is not defined'),
    ('$$ c $$ {#eq-b} as @eq-b says', 'eq-b is checked by no cell'),
    ('$$ c $$ {#eq-a}', 'eq-a is defined more than once'),
    (('#| label: fig-a', []), 'fig-a is defined more than once'),
    ('The ELBO rose to 83.91 nats.', '83.91 has no source'),
    ('[x](02_none.ipynb)', 'link to 02_none.ipynb, which is not there'),
    ('[x](01_page.ipynb#no-part)', 'link to 01_page.ipynb#no-part, which is not there'),
    ('[x](#no-part)', 'link to #no-part, which is not there'),
    ('![a picture](none.png)', 'link to none.png, which is not there'),
    ('![](there.png)', 'image there.png has no alternative text'),
    ('[x](../outside.md)', 'link to ../outside.md, which is not on the site'),
    (f'{HOME.replace("vae-nbdev/", "elsewhere/")}', 'is not the address in settings.ini'),
    ('[x](https://arxiv.org/abs/0000.00000)', 'https://arxiv.org/abs/0000.00000 is not in refs.bib'),
    ('[x](https://doi.org/10.1/none)', 'https://doi.org/10.1/none is not in refs.bib'),
    ('As @nobody2000 says.', '@nobody2000 is not in refs.bib'),
    ((FIGURE.replace('fig-alt', 'no').replace('fig-a\n', 'fig-b\n'), [PNG]), 'has a figure without fig-alt'),
    ((FIGURE.replace('fig-cap', 'no').replace('fig-a\n', 'fig-b\n'), [PNG]), 'has a figure without fig-cap'),
    ((FIGURE.replace('label', 'no'), [PNG]), 'has a figure without label'),
    (('x = [' + 30*'1000, ' + ']', []), 'has a line of 186 columns'),
    ('```sh\n' + 21*'call ' + '\n```', 'a block has a line of 105 columns'),
    ('| a | b | c |\n|---|---|---|\n| x | y | ' + 15*'words ' + '|', 'a table with 3 equal columns: | a | b | c |'),
    (('def f():\n' + 41*'    x = 1\n', []), 'f has 41 lines'),
    (('1/0', [dict(output_type='error')]), 'has a stored error or warning'),
    (('warn()', [dict(output_type='stream', name='stderr', text=['x'])]), 'has a stored error or warning'),
    (('warn()', [dict(output_type='stream', name='stdout', text=['UserWarning: x'])]), 'has a stored error or warning'),
    ('# Again', 'a page has one # heading, its first'),
    ('#### Deep', "heading 'Deep' is 2 levels below the one above it"),
    ('## A part', 'two headings share the anchor #a-part'),
    ('So $e^4\approx55$.', r"a control character: '\x07pprox55$.'"),
])
def test_a_complaint(tmp_path, cell, complaint):
    for path in tmp_path/'there.png', tmp_path.parent/'outside.md': path.touch()
    assert any(complaint in c for c in found(write(tmp_path, *GOOD, cell)))


def test_an_equation_nobody_refers_to(tmp_path):
    assert found(write(tmp_path, GOOD[0], BADGE, '$$ a $$ {#eq-a}', ('# checks', []))) == ['eq-a is checked by no cell', 'eq-a is never referred to']


@pytest.mark.parametrize('first', ['# Title', '# Title\n\n> One sentence.\n\nMore.', '> One sentence.'])
def test_a_title_that_loses_something(tmp_path, first): assert len(list(check_title(write(tmp_path, first)))) == 1


def test_a_chapter_without_its_badge(tmp_path):
    assert found(write(tmp_path, GOOD[0], name='02_x.ipynb')) == ['no link that opens it on Colab']
    assert found(write(tmp_path, GOOD[0], name='notation.ipynb')) == []


def test_anchors(tmp_path):
    page = write(tmp_path, '# The exact log p(x)', '## `VAE`, 2.5 *times*', '## 3rd [link](x.png): a', name='02_a.ipynb')
    assert page.anchors == {'the-exact-log-px', 'vae-2.5-times', 'rd-link-a'}
    (tmp_path/'a.md').write_text('# 3rd: `a`\n\n```sh\n# none\n```\n')
    assert Page(tmp_path/'a.md').anchors == {'3rd-a'}


def test_a_text(tmp_path):
    (tmp_path/'a.md').write_text('# A\n\n[x](../../issues) [folder](there) [y](none.md)\n\n### B\n')
    (tmp_path/'there').mkdir()
    assert found(Page(tmp_path/'a.md')) == ['link to none.md, which is not there', "heading 'B' is 2 levels below the one above it"]


def test_sidebar(tmp_path):
    (tmp_path/'_quarto.yml').write_text('website: {sidebar: {contents: [{href: index.ipynb}, {section: A, contents: [{href: gone.ipynb}]}]}}')
    assert list(check_sidebar(['index.ipynb', 'new.ipynb'], tmp_path/'_quarto.yml')) == ['new.ipynb is not in the sidebar', 'the sidebar lists gone.ipynb, which is not there']


def test_the_map_of_chapter_0(tmp_path):
    (tmp_path/'_quarto.yml').write_text('      - {text: Start here, href: index.ipynb}\n      - {text: 2 Encoder, href: 02_encoder.ipynb}\n')
    start = '# A\n\n[x](02_encoder.ipynb)\n\n## The map\n\n[the bound](01_elbo.ipynb)\n\n## Recap\n\n[y](03_decoder.ipynb)'
    left_out = lambda text: list(check_map(['00_start.ipynb', '01_elbo.ipynb', '03_decoder.ipynb', 'papers.ipynb'], tmp_path/'_quarto.yml', text))
    assert left_out(start) == ['the map does not lead to 02_encoder.ipynb', 'the map does not lead to 03_decoder.ipynb']
    assert left_out(start.replace('## The map', '## A map')) == ['there is no section "The map"']


def test_the_map_of_chapter_0_leads_to_every_chapter():
    start, chapters = Page(ROOT/'nbs/00_start.ipynb').prose, sorted(p.name for p in (ROOT/'nbs').glob('[0-9]*.ipynb'))[1:]
    assert len(chapters) > 30 and list(check_map(chapters)) == []
    for name in chapters: assert list(check_map(chapters, start=start.replace(f']({name})', ''))) == [f'the map does not lead to {name}']


def test_bibliography(tmp_path):
    entries = '''@misc{a, title={A {B}}, author={C, D}, year={2000}, url={https://arxiv.org/abs/1}}
@misc{a, title={A}, author={C}, year={2000}, url={https://arxiv.org/abs/1}}
@misc{b, title={B}, doi={10.1/b}, year={2000}}
@misc{c, title={C}, author={C}, year={2000}}
'''
    (tmp_path/'r.bib').write_text(entries)
    assert list(check_bibliography(tmp_path/'r.bib')) == ['a is there twice', 'https://arxiv.org/abs/1 has two entries', 'b has no author', 'c has neither doi nor url']
    page = write(tmp_path, '[x](https://doi.org/10.1/b) [y](https://arxiv.org/abs/2) @a @dd')
    assert list(check_citations(page, tmp_path/'r.bib')) == ['https://arxiv.org/abs/2 is not in r.bib', '@dd is not in r.bib']


def test_numbers_have_sources(tmp_path):
    results = tmp_path/'results'
    results.mkdir()
    (results/'speed.json').write_text('{"rows": [{"ratio": 0.9712}]}', encoding='utf-8')
    say = lambda *cells: list(check_numbers(write(tmp_path, *cells), results))
    shown = ('print(elbo)', [dict(output_type='stream', text=['-83.9062 nats'])])
    assert say('The ELBO is −83.91, and $1/\\log 2 = 1.44$.', shown) == []
    assert say('The ratio is 0.97 (`results/speed.json`).') == [] and len(say('The ratio is 0.97.')) == 1
    assert say('97.1 % are good.', ('show("speed")', [])) == []
    assert len(say('It fell to 83.92.', shown)) == 1
    assert say('It is 81.08 ([Somebody, 2016](https://arxiv.org/abs/1606.04934)).') == []
