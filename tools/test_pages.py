"""What pages.py and reference.py make of a chapter."""
import ast, json, re
from collections import Counter
from functools import cache
from typing import NamedTuple
import pytest
from execnb.nbio import dict2nb, mk_cell, read_nb
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor, extract_directives
from pages import Anchors, Solutions, exported, names
from reference import NBS, build, entry, table
from rendered import faults, main, mend_search


def processed(*cells):
    "Cells of a notebook after both processors; texts are Markdown, pairs code and outputs."
    made = [mk_cell(c, 'markdown') if isinstance(c, str) else mk_cell(c[0], outputs=c[1]) for c in cells]
    nb = process(dict2nb(cells=[mk_cell('#| default_exp loss'), *made]))
    return [(c.cell_type, c.source) for c in nb.cells[1:]]


def process(nb):
    for c in nb.cells: c.directives_ = extract_directives(c, remove=False)
    for p in Anchors, Solutions: p(nb).begin()
    return nb


@cache
def site():
    "All notebooks as they go to Quarto, by the name of their page."
    return {re.sub(r'^\d+_', '', p.stem): process(read_nb(p)) for p in sorted(NBS.glob('*.ipynb'))}


def test_names(): assert list(names('def f(): pass\n@patch\ndef g(self:C): pass\nclass D: pass\nx = 1')) == ['f', 'C.g', 'D']


def test_a_definition_is_shown_once_with_a_link_to_its_parameters():
    (kind, link), (_, code), (_, rest) = processed(('#| exports\ndef f(): pass\ndef _g(): pass\nclass C:\n    def m(self): pass', []))
    assert kind == 'markdown' and '[`f`](reference/loss.qmd#f){.reference #f}' in link
    assert '[]{#_g}' in link and '[]{#c.m}' in link # nbdev links to these, too
    assert code.count('def f') == 1
    assert '[`beta_at`](reference/loss.qmd#beta_at){.reference #beta_at}' in rest # not shown on this page


def test_a_solution_is_one_fold_without_output():
    cells = processed('<details><summary>Solution</summary>\n\nWhy.\n\n</details>', ('#| code-fold: true\n#| code-summary: "Solution"\n1 + 1', ['2']))
    assert [s.strip() for _,s in cells[:3]] == ['<details><summary>Solution</summary>\n\nWhy.', '1 + 1', '</details>']


def example(
    x:int,       # A number | a count
    y:str=None,  # A text
)->float:        # Its weight
    "What it does."


def test_a_table_of_parameters():
    assert table(example)[2:5] == ['| `x` | int |  | A number \\| a count |', '| `y` | str | `None` | A text |', '| *returns* | float |  | Its weight |']
    assert entry('example', example)[0] == '## example {#example}'
    assert '"What it does."' not in '\n'.join(entry('example', example)) and '    "What it does."' in entry('example', example, {'example'})[-5]


class Two(NamedTuple):
    "Two numbers."
    a:float      # The first
    b:int|None=3 # The second


def test_fields_of_a_named_tuple():
    assert table(Two)[2:4] == ['| `a` | float |  | The first |', '| `b` | int \\| None | `3` | The second |']


def test_every_page_is_about_this_package():
    files = build()
    assert all('object at 0x' not in text for text in files.values())
    pages = {p.stem for p in files if p.suffix == '.qmd'}
    assert {'loss', 'vae', 'cli'} <= pages and get_config().title in next(t for p,t in files.items() if p.name == 'llms.txt')


def test_a_list_of_pages_leads_to_them():
    text, base = (NBS/'llms.txt').read_text(encoding='utf-8'), f'{get_config().doc_host}{get_config().doc_baseurl}/'
    listed = {a.removeprefix(base) for a in re.findall(r'\]\((.*?\.html)\)', text)}
    made = set()
    for path in NBS.glob('*.ipynb'):
        front = NBProcessor(path, procs=FrontmatterProc, process=True).nb.frontmatter_
        made.add(front.get('output-file', f'{path.stem}.html'))
    assert made == listed | {'index.html'} and 'start.html' in made


FIRST = '''plot data elbo encoder decoder loss features vae trainer checkpoint tracking samplers evaluate config explore cli study check
           mnist celeba perceptual pitfalls notation numbers papers'''.split()

def test_a_chapter_keeps_its_address_when_it_gets_another_number():
    made = [NBProcessor(p, procs=FrontmatterProc, process=True).nb.frontmatter_.get('output-file', f'{p.stem}.html') for p in NBS.glob('*.ipynb')]
    assert {f'{name}.html' for name in FIRST} <= set(made) and len(set(made)) == len(made) # the pages of the first order


def test_a_definition_that_is_not_a_plain_function_is_on_its_page():
    assert '{#coders}' in reference('bytes') and '{#lineargaussianvae.fit}' in reference('elbo')


def test_no_definition_is_told_twice():
    found = Counter((page, n) for page,nb in site().items() for c in nb.cells if exported(c) for n in set(names(c.source)))
    assert len(found) > 500 and [k for k,n in found.items() if n > 1] == []
    assert 'add_show_docs' in get_config().skip_procs # it would repeat each, with raw Markdown in the signature


def test_an_answer_is_in_one_fold_and_without_output():
    for page, nb in site().items():
        depth = 0
        for c in nb.cells:
            if c.cell_type == 'markdown': depth += c.source.count('<details') - c.source.count('</details>')
            assert depth in (0, 1), f'{page}: a fold in a fold, or one that is not closed'
            assert not depth or c.cell_type == 'markdown' or not c.outputs, f'{page}: a solution shows its output'
            assert 'code-summary: "Solution"' not in c.source
        assert not depth


def test_links_that_nbdev_makes_lead_somewhere():
    base = f'{get_config().doc_host}{get_config().doc_baseurl}/'
    anchors = {page: {a for c in nb.cells for a in re.findall(r'\{[^}]*#([\w.]+)\}', c.source)} for page,nb in site().items()}
    seen = 0
    for page, nb in site().items():
        for c in nb.cells:
            if c.cell_type != 'markdown': continue
            for there, part in re.findall(re.escape(base) + r'(\w+)\.html#([\w.]+)\)', NbdevLookup().linkify(c.source) or ''):
                assert part in anchors[there], f'{page}: a link to {there}.html#{part}, which is not there'
                seen += 1
            for module, part in re.findall(r'\(reference/(\w+)\.qmd#([\w.]+)\)', c.source):
                assert f'{{#{part}}}' in reference(module), f'{page}: a link to reference/{module}.qmd#{part}, which is not there'
    assert seen > 300


@cache
def reference(module): return (NBS/'reference'/f'{module}.qmd').read_text(encoding='utf-8')


GOOD = ('<meta property="og:image" content="https://x/card.png"><a href="https://colab.x/1"><img src="b.svg" alt="Open in Colab"></a>'
        '<p>@fig-a <code>?@fig-b</code></p>')

@pytest.mark.parametrize('change,fault', [
    (('<a href="https://colab.x/1">', '<a href="b.svg" class="lightbox">'), 'no link that opens it on Colab'),
    (('alt="Open in Colab"', ''), 'no link that opens it on Colab'),
    (('<p>', '<p>?@eq-b '), '?@eq-b leads nowhere'),
    (('<p>', '<link href="https://fonts.googleapis.com/css2"><p>'), 'a font from elsewhere'),
    (('card.png', 'fig-a.png'), 'its picture is https://x/fig-a.png, not card.png'),
])
def test_a_rendered_page(change, fault):
    assert list(faults(GOOD, True)) == [] and list(faults(GOOD.replace(*change), True)) == [fault]


def test_a_chapter_that_was_not_rendered(tmp_path):
    assert main(tmp_path, {'elbo.html'}) == [f'{tmp_path}: no pages']
    (tmp_path/'vae.html').write_text(GOOD)
    assert main(tmp_path, {'elbo.html', 'vae.html'}) == ['elbo.html: not rendered']


def test_the_search_shows_no_tex(tmp_path):
    text = r'The gap \(\log p_\theta(x) - \mathrm{ELBO} = \mathrm{KL}\big(q\,\|\,p(z\mid x)\big)\) and \[\begin{aligned} a &\le \frac{\beta}{2} \\ b \end{aligned}\] end (2).'
    (tmp_path/'search.json').write_text(json.dumps([dict(objectID='a.html#b', title='A', text=text)]))
    mend_search(tmp_path/'search.json')
    entry, = json.loads((tmp_path/'search.json').read_text(encoding='utf-8'))
    assert entry == dict(objectID='a.html#b', title='A', text='The gap log pθ(x) - ELBO = KL(q‖p(z|x)) and a ≤ β/2 b end (2).')


@pytest.mark.parametrize('page', ['notation', 'numbers', 'papers'])
def test_pages_to_look_things_up_in_show_no_tests(page):
    for c in site()[page].cells:
        shown = c.cell_type == 'code' and not {'hide', 'code-fold:', 'echo:'} & set(c.directives_ or {})
        assert not shown or 'assert' not in c.source, c.source


def asserted(source):
    "Statements of a cell that only test; none where the cell also defines what it tests."
    body = ast.parse(source).body
    if any(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in body): return []
    calls = [n.value.func for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    return [n for n in body if isinstance(n, ast.Assert)] + [f for f in calls if getattr(f, 'id', '').startswith('assert_')]


def test_what_only_tests(): assert len(asserted('x = 1\nassert x\nassert_close(x, 1)')) == 2 and not asserted('def f(): return 1\nassert f()') and not asserted('print(assert_that)')


@pytest.mark.parametrize('page', ['mnist', 'celeba', 'perceptual', 'pitfalls', 'recipes'])
def test_studies_show_no_tests(page):
    "What a study claims is tested in hidden cells; cells with a flag are its trainings, which may refuse to go on."
    for c in site()[page].cells:
        aside = {'hide', 'code-fold:', 'slow', 'data', 'eval:'} & set(c.directives_ or {})
        assert c.cell_type != 'code' or aside or not asserted(c.source), c.source
