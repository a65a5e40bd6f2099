"""Is the fine detail of chapter 22's reconstructions where the photographs have it? Coherence by bands, read back from the stored picture.

The models of that study were not kept, its picture of six test faces and their reconstructions was. The picture is a little smaller than the
images in it: about every seventieth row and column is missing. The row of photographs says exactly which, since the photographs are on disk;
what is missing is filled in with the mean of its neighbours. What that does is measured too, on the photographs of the picture. Needs CelebA."""
import base64, io, json
from itertools import product
from pathlib import Path
import torch
from PIL import Image
from vae_nbdev.core import InputError
from vae_nbdev.data import load_dataset
from vae_nbdev.study import Study
from common import RESULTS, Parser, command

NBS = RESULTS.parent/'nbs'
ROWS = 'photographs', 'squared', 'absolute', 'twice absolute', 'features'
SIDE, N = 128, 6
SHIFTS = [i/1000 for i in range(0, 1000, 5)] # where in a pixel of the picture the drawing looked

def chapter():
    "Definitions of the chapter (spectrum, fading, coherence) by name, and the picture, bytes `(h,w,3)`."
    cells = {c['id']: c for c in json.loads((NBS/'22_perceptual.ipynb').read_text(encoding='utf-8'))['cells']}
    names = dict(torch=torch, seeded=lambda add=0: torch.Generator().manual_seed(add))
    for key in ('a44ecdc7', 'b22d51e2', '22coher02'): exec(''.join(cells[key]['source']), names)
    png = cells['d2972920']['outputs'][0]['data']['image/png']
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB')
    return names, torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(picture.height, picture.width, 3)

def grid_of(faces):
    "The picture as it was before it was drawn, as far as it is known: the first row, white for the others."
    grid = torch.full(((SIDE + 1)*len(ROWS) + 1, (SIDE + 1)*N + 1, 3), 255, dtype=torch.uint8)
    for i,x in enumerate(faces): grid[1:1+SIDE, 1+(SIDE+1)*i:1+(SIDE+1)*i+SIDE] = x.permute(1, 2, 0)
    return grid

def places(n, size, offset):
    "Rows or columns of the grid that `n` pixels of the picture show."
    return ((torch.arange(n) + offset)*size).long()

def matched(lines, known, size):
    "For each line of the picture the most similar line of the grid, near where it must be."
    def error(i, k): return (lines[i].int() - known[k].int()).abs().sum().item()
    near = lambda i: range(max(0, int(i*size) - 2), min(len(known), int(i*size) + 4))
    return torch.tensor([min(near(i), key=lambda k: error(i, k)) for i in range(len(lines))])

def fitted(picture, grid):
    "Where the grid lies in the picture: top, left, and the rows and columns that it shows. The photographs must agree in every pixel."
    h, w = grid.shape[:2]
    for width,left,top in product(range(w, w - 30, -1), range(4, 16), range(4, 16)):
        size = w/width
        n = int(SIDE/size)
        block = picture[top:top+n, left:left+width]
        if left + width > picture.shape[1] or not torch.equal(block[20, :30], grid[20, :30]): continue
        columns = matched(block.movedim(1, 0), grid[places(n, size, .5)].movedim(1, 0), size)
        first = matched(block, grid[:SIDE][:,columns], size)
        if not torch.equal(block, grid[first][:,columns]): continue
        for offset in SHIFTS:
            rows = places(int(h/size), size, offset)
            white = (picture[top:top+len(rows), left:left+width] == 255).flatten(1).all(1)
            if torch.equal(rows[:n], first) and white[rows % (SIDE + 1) == 0].all(): return top, left, rows, columns
    raise InputError('the picture does not hold the first six test faces of this CelebA, pixel by pixel')

def filled(picture, grid, place):
    "The whole grid, floats, with what the picture lacks filled in."
    top, left, rows, columns = place
    full = torch.full(grid.shape, torch.nan, dtype=torch.float64)
    shown = picture[top:top+len(rows), left:left+len(columns)].double()/255
    full[rows[:,None], columns] = shown
    for axis,there in (0, rows), (1, columns):
        t = full.movedim(axis, 0)
        for i in sorted(set(range(1, len(t) - 1)) - set(there.tolist())): t[i] = (t[i-1] + t[i+1])/2
    return full

def main():
    names, picture = chapter()
    faces = load_dataset('celeba', 'test', image_size=SIDE, limit=N, progress=False).images
    grid = grid_of(faces)
    full = filled(picture, grid, fitted(picture, grid))
    def cell(r, i): return full[1+(SIDE+1)*r:1+(SIDE+1)*r+SIDE, 1+(SIDE+1)*i:1+(SIDE+1)*i+SIDE].permute(2, 0, 1)
    found = {name: torch.stack([cell(r, i) for i in range(N)]) for r,name in enumerate(ROWS)}
    assert all(x.isfinite().all() for x in found.values())
    x = faces.double()/255
    rows = {name: dict(coherence=names['coherence'](recon, x), sharpness=names['sharpness'](recon, x)[1],
                       each=[names['coherence'](recon[i:i+1], x[i:i+1]) for i in range(N)]) for name,recon in found.items()}
    study = Study('perceptual', home=RESULTS.parent)
    study.record('coherence', rows=rows, num_images=N, source='the stored picture fig-pairs, 8 bits a channel', ran=command())
    for name,row in rows.items():
        print(f'{name:<16}', *(f'{k}: {v:.2f} of power {row["sharpness"][k]:.2f}' for k,v in row['coherence'].items()), sep='  ')

if __name__ == '__main__':
    parser = Parser(description=__doc__.splitlines()[0])
    parser.parse_args()
    try: main()
    except InputError as e: parser.error(str(e))
