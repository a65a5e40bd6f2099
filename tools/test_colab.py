"""What colab.py makes of a notebook."""
import pytest
from execnb.shell import CaptureShell
from nbdev.config import get_config
from colab import INSTALL, badge, make, prepare
from freshness import code_hash

TITLE, NEEDS = '# Title\n\n> One sentence.', '*Needs:* nothing.\n\nText.'
CELLS = make('markdown', 'aa', f'{TITLE}\n\n{NEEDS}'), make('code', 'bb', '#| default_exp page'), make('code', 'cc', '1 + 1')


def notebook(*cells, fresh=True):
    nb = dict(cells=list(cells), metadata=dict(vae_nbdev=dict(code_hash='old')))
    if fresh: nb['metadata']['vae_nbdev']['code_hash'] = code_hash(nb)
    return nb


def texts(nb): return [''.join(c['source']) for c in nb['cells']]


def test_a_chapter():
    install = INSTALL.format(url=get_config().git_url, lib=get_config().lib_name)
    expected = [TITLE, badge('01_page.ipynb'), NEEDS, install, '#| default_exp page', '1 + 1']
    new = prepare(notebook(*CELLS), '01_page.ipynb')
    assert texts(new) == expected
    assert new['cells'][0]['id'] == 'aa' and len({c['id'] for c in new['cells']}) == 6
    assert prepare(new, '01_page.ipynb') == new
    assert texts(prepare(notebook(CELLS[1], CELLS[0], CELLS[2]), '01_page.ipynb')) == expected # the title comes first


def test_other_pages(): assert texts(prepare(notebook(*CELLS), 'index.ipynb')) == [TITLE, NEEDS, '#| default_exp page', '1 + 1']


@pytest.mark.parametrize('fresh', [True, False])
def test_outputs_stay_as_fresh_as_they_were(fresh):
    new = prepare(notebook(*CELLS, fresh=fresh), '01_page.ipynb')
    assert (new['metadata']['vae_nbdev']['code_hash'] == code_hash(new)) == fresh


def test_the_address_is_that_of_the_settings():
    assert get_config().git_url in INSTALL.format(url=get_config().git_url, lib='r') and 'github.com' not in INSTALL
    place = get_config().git_url.removeprefix('https://github.com') + '/blob/main/nbs/02_x.ipynb">'
    assert place in badge('02_x.ipynb') and 'alt="Open in Colab"' in badge('02_x.ipynb')


class Colab:
    "Stands in for Colab's shell and takes down what it is asked for."
    def __init__(self): self.asked = []
    def __str__(self): return '<google.colab._shell.Shell object>'
    def system(self, command): self.asked.append(command)


def test_the_cell_acts_on_colab():
    shell = Colab()
    exec(INSTALL.format(url='https://example.org/r', lib='r'), dict(get_ipython=lambda: shell))
    assert shell.asked == ['pip install -q "r[course] @ git+https://example.org/r"']


def test_the_cell_does_nothing_elsewhere():
    shell = CaptureShell()
    shell.system = None # calling it would be an error
    shell.run(INSTALL.format(url='https://example.org/r', lib='r'))
    assert shell.exc is None
