"""How run.py stores figures."""
from base64 import b64decode, b64encode
from io import BytesIO
import nbformat.v4 as v4
import numpy as np
from PIL import Image
from run import lighten


def notebook(side):
    "One sharp figure of noise, which PNG cannot press."
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)).save(file, 'png')
    png = b64encode(file.getvalue()).decode()
    shown = v4.new_output('display_data', data={'image/png': png}, metadata={'image/png': dict(width=side//2, height=side//2)})
    return v4.new_notebook(cells=[v4.new_code_cell('plot()', outputs=[shown])])


def size(nb):
    return Image.open(BytesIO(b64decode(nb.cells[0].outputs[0]['data']['image/png']))).width


def test_a_page_may_have_sharp_figures_for_a_megabyte():
    nb = notebook(400)
    lighten(nb)
    assert size(nb) == 400 and nb.cells[0].outputs[0]['metadata']['image/png']['width'] == 200
    lighten(nb, cost=10_000)
    assert size(nb) == 200 and 'image/png' not in nb.cells[0].outputs[0]['metadata']
