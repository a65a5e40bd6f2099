"""Draw the picture that other sites show beside a link to this one: `python tools/card.py` writes nbs/card.png.

It shows what the course builds: the digits 0 to 9, drawn by the shipped model, a row for each handwriting."""
from pathlib import Path
import matplotlib.pyplot as plt
import torch
from nbdev.config import get_config
from vae_nbdev.plot import COLORS, image_grid
from vae_nbdev.vae import VAE

CARD = Path(__file__).resolve().parent.parent/'nbs'/'card.png'
ROWS, SIZE, DPI = 4, (1200, 630), 100 # pixels, as link previews ask for


def draw():
    "The card as a figure."
    vae, codes = VAE.from_pretrained('mnist-labels'), torch.randn(ROWS, 1, 24, generator=torch.Generator().manual_seed(3))
    digits = vae.images(codes.expand(ROWS, 10, -1).flatten(0, 1), torch.arange(10).repeat(ROWS))
    fig = plt.figure(figsize=(SIZE[0]/DPI, SIZE[1]/DPI), dpi=DPI, facecolor=COLORS['rate'])
    fig.text(.07, .86, get_config().title, color='white', size=40, weight='bold', va='center')
    fig.text(.07, .76, get_config().description, color='white', size=18, va='center')
    ax = fig.add_axes([.07, .06, .86, .62])
    ax.imshow(image_grid(digits, ncol=10)[0], cmap='gray', aspect='auto', interpolation='bicubic')
    ax.set_axis_off()
    return fig


if __name__ == '__main__': draw().savefig(CARD, dpi=DPI, pil_kwargs=dict(optimize=True))
