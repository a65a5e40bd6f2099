"""The living page in a real browser, compared with PyTorch. Where there is no Chromium with its driver, this is skipped, and says so."""
import math
from importlib.resources import files
import pytest
import torch
from browser import DONE, NATS, PARTS, Browser, programs, served
from vae_nbdev.config import VAEConfig
from vae_nbdev.elbo import log_normal
from vae_nbdev.serve import make_server
from vae_nbdev.vae import VAE

pytestmark = pytest.mark.skipif(None in programs(), reason='the page is not tried in a browser: there is no Chromium with its driver here')

# the pixels of a canvas, 0 to 255, as text
PIXELS = """const c = document.querySelector(arguments[0]), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
return Array.from({length: d.length/4}, (_, k) => d[4*k])"""
SEEN, MOVED = '[data-part=draw] .pictures canvas[aria-label="What the encoder sees"]', '[data-part=move] canvas'


@pytest.fixture(scope='module')
def browser():
    with Browser() as b: yield b


@pytest.fixture(scope='module')
def page(browser):
    with served(make_server()) as server:
        browser.server = server.url
        browser.open(server.url)
        browser.wait(DONE)
        yield browser


def show(b, part):
    b.run(f"document.querySelector('[data-part={part}]').scrollIntoView()")
    b.wait(f"return document.querySelector('[data-part={part}] canvas')")


def test_a_drawing_has_the_bound_that_pytorch_finds(page):
    page.drag('.pad', [(.3, .2), (.7, .2), (.45, .8)]) # a seven, in place of the three that was there
    page.wait(DONE)
    x = (torch.tensor(page.run(PIXELS, SEEN)).view(1, 1, 28, 28) > 127).double()
    assert 30 < x.sum() < 90 # the three alone has more than 90
    model, nats = VAE.from_pretrained('mnist').double(), page.run(NATS)
    with torch.no_grad(): b = model(x.expand(2000, -1, -1, -1), eps=torch.randn(2000, 24, generator=torch.Generator().manual_seed(0)).double())
    assert nats['rate'] == pytest.approx(b.rate[0].item(), abs=1e-4)
    assert nats['elbo'] == pytest.approx(-nats['rate'] - nats['distortion'], abs=1e-9)
    assert abs(nats['distortion'] - b.distortion.mean()) < 5*b.distortion.std()/math.sqrt(16) # the page draws z sixteen times


def test_the_pen_has_a_keyboard(page):
    page.type('.pad', 'delete', 'down', *['right']*3)
    page.wait(DONE)
    assert not sum(page.run(PIXELS, SEEN))
    page.type('.pad', 'space', *['up']*6, 'space', 'right')
    page.wait(DONE)
    assert 8 <= sum(v > 127 for v in page.run(PIXELS, SEEN)) <= 30


def test_a_slider_moves_by_keyboard(page):
    show(page, 'move')
    page.run("document.querySelector('[data-part=draw] .digits button').click()") # a code within the sliders
    page.wait(DONE)
    state = "const s = document.querySelector('[data-part=move]'); return +s.querySelector('input').value"
    page.wait(DONE.replace('draw', 'move'))
    value, before = page.run(state), page.run(PIXELS, MOVED)
    page.type('[data-part=move] input', *['left' if value > 0 else 'right']*20)
    page.wait(DONE.replace('draw', 'move'))
    assert abs(page.run(state) - value) > .9 and page.run(PIXELS, MOVED) != before
    page.run("document.querySelector('[data-part=move] details').open = true")
    z = page.run("return [...document.querySelectorAll('[data-part=move] .slider')].map(s => [s.querySelector('label').textContent, +s.querySelector('input').value])")
    said = float(page.run("return document.querySelector('[data-part=move] .summary').textContent").split()[3].replace('−', '-'))
    z = torch.tensor([[v for _,v in z]])
    assert z.shape[1] == 24 and abs(log_normal(z, 0*z, 0*z).item() - said) < .2 # sliders show two digits


def test_samples_are_shared_by_their_address(page):
    def samples(seed):
        page.open(f'{page.server}&seed={seed}&temperature=0.7')
        page.wait(DONE)
        show(page, 'sample')
        page.wait("return document.querySelector('[data-part=sample] .summary').textContent.includes('seed')")
        return page.run(PIXELS, '[data-part=sample] canvas')
    first = samples(5)
    assert first == samples(5) != samples(6)
    assert page.run("return document.querySelector('[data-part=sample] input[type=number]').value") == '6'
    page.open(page.server + '&seed=6&prior=flow') # the same seed under the flow, read from its own file
    show(page, 'sample')
    page.wait("return document.querySelector('[data-part=sample] .summary').textContent.includes('the flow')")
    assert page.run(PIXELS, '[data-part=sample] canvas') != samples(6)


def test_path_and_training_answer(page):
    show(page, 'path')
    page.wait("return document.querySelector('[data-part=path] .chart circle')")
    show(page, 'beta')
    page.run("document.querySelector('[data-part=beta] button').click()")
    page.wait("return document.querySelector('[data-part=beta] .summary').textContent.startsWith('Epoch')")
    page.run("document.querySelector('[data-part=beta] button').click()")


@pytest.mark.parametrize('width', (390, 1280))
@pytest.mark.parametrize('dark', (False, True))
def test_nothing_sticks_out_and_nothing_complains(page, width, dark):
    page.log()
    page.open(page.server, width, dark=dark)
    page.wait(DONE)
    for part in PARTS: show(page, part)
    assert page.run('return document.documentElement.scrollWidth <= innerWidth') and not page.log()
    unnamed = page.run("return [...document.querySelectorAll('input, select')].filter(e => !e.labels?.length && !e.ariaLabel).length")
    assert not unnamed
    assert page.run("return document.body.classList.contains('dark')") == dark
    page.run((files('axe_core_python')/'axe.min.js').read_text(encoding='utf-8'))
    found = page.run("return axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => [v.id, v.impact, v.nodes.length]))")
    assert not [v for v in found if v[1] in ('serious', 'critical')], found


def test_a_model_of_ones_own(browser, tmp_path):
    torch.manual_seed(0)
    VAE(VAEConfig(image_size=12, channels=3, latent_dim=5, likelihood_type='gaussian', scale_mode='learned', scale=.3, num_classes=4, decoder_labels=True)).save_pretrained(tmp_path)
    with served(make_server(str(tmp_path))) as server:
        browser.open(server.url)
        browser.wait(DONE)
        for part in PARTS[:4]: show(browser, part)
        browser.wait("return document.querySelector('[data-part=path] .chart')")
        assert not browser.run("return document.querySelectorAll('.failure').length")
        config = tmp_path/'config.json'
        config.write_text(config.read_text().replace('"conv"', '"tree"'))
        browser.open(server.url)
        said = browser.wait("return document.querySelector('.failure')?.textContent")
        assert said == 'this page cannot run the model: architecture is "tree", and it knows conv, mlp'
