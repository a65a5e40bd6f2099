"""What pages.py and reference.py make of a chapter."""
from execnb.nbio import dict2nb, mk_cell
from nbdev.config import get_config
from nbdev.process import extract_directives
from pages import Anchors, Solutions, names
from reference import build, entry, table


def processed(*cells):
    "Cells of a notebook after both processors; texts are Markdown, pairs code and outputs."
    made = [mk_cell(c, 'markdown') if isinstance(c, str) else mk_cell(c[0], outputs=c[1]) for c in cells]
    nb = dict2nb(cells=[mk_cell('---\noutput-file: loss.html\n---', 'raw'), *made])
    for c in nb.cells: c.directives_ = extract_directives(c, remove=False)
    for p in Anchors, Solutions: p(nb).begin()
    return [(c.cell_type, c.source) for c in nb.cells[1:]]


def test_names(): assert list(names('def f(): pass\n@patch\ndef g(self:C): pass\nclass D: pass\nx = 1')) == ['f', 'C.g', 'D']


def test_a_definition_is_shown_once_with_a_link_to_its_parameters():
    (kind, link), (_, code), (_, rest) = processed(('#| exports\ndef f(): pass\ndef _g(): pass', []))
    assert kind == 'markdown' and '[`f`](reference/loss.qmd#f){.reference #f}' in link and '_g' not in link
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


def test_every_page_is_about_this_package():
    files = build()
    assert all('object at 0x' not in text for text in files.values())
    pages = {p.stem for p in files if p.suffix == '.qmd'}
    assert {'loss', 'vae', 'cli'} <= pages and get_config().title in next(t for p,t in files.items() if p.name == 'llms.txt')
