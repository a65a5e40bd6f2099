"""What does it take to write codes to a file, and images to files? Images a second and peak memory of `encode_set`, as behind `vae_encode`, and of
drawing, as behind `vae_generate --separate`, for 1,000 and 100,000 images of 64x64 pixels, from a small untrained model.

Every measurement is a process of its own, which says what it holds after its imports, its peak at the end, and how long the work took without the
imports. The images to encode are a mapped file of bytes that is made first, as the cache of a folder is; with labels and file names. Encoding is
measured into `.safetensors` and into `.npz`. Everything is in a temporary folder: 1.2 GB on the disk for the images, and 700 MB for PNG files.
Drawing, which takes the longest by far since each image becomes a file, is measured in the first round only.
Headline: peak of encoding 100,000 images to `.safetensors` over that of 1,000.
"""
import json, subprocess, sys, tempfile
from pathlib import Path
from time import perf_counter
from common import parser, report, run, spread
from memory import peak_mb

TARGET = 1.10
IMAGE_SIZE, CHANNELS = 64, 3
KINDS = 'safetensors', 'npz', 'drawn'

def small_model(folder):
    "An untrained model, saved."
    import torch
    from vae_nbdev.config import VAEConfig
    from vae_nbdev.vae import VAE
    torch.manual_seed(0)
    VAE(VAEConfig(image_size=IMAGE_SIZE, channels=CHANNELS, width=8, depth=4, likelihood_type='gaussian')).save_pretrained(folder)

def make_images(file, n):
    "A file of `n` images, bytes of chance, to be mapped."
    import numpy as np
    noise, shape = np.random.default_rng(0), (n, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    with open(file, 'wb') as f:
        np.lib.format.write_array_header_1_0(f, dict(descr='|u1', fortran_order=False, shape=shape))
        for i in range(0, n, 1000): f.write(noise.integers(0, 256, (min(1000, n - i), *shape[1:]), dtype=np.uint8))

def measure(kind, folder, n):
    "In a process of its own: encode `n` images to a file, or draw them into files; prints JSON."
    import torch
    from vae_nbdev import export, runs
    from vae_nbdev.data import ImageSet, map_images
    folder = Path(folder)
    model = runs.load_model(str(folder))
    if kind == 'drawn': work = lambda tmp: runs.draw_images(model, runs.Draw(num_samples=n), None, Path(tmp)/'d.png', 8, True)
    else:
        names = [Path(f'class{i%10}/{i:06}.jpg') for i in range(n)]
        images = ImageSet(map_images(folder/f'{n}.npy'), torch.arange(n) % 10, name='noise', split='all', files=names)
        work = lambda tmp: export.encode_set(model, images, Path(tmp)/f'codes.{kind}')
    start, clock = peak_mb(), perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as tmp:
        work(tmp)
        seconds, peak = perf_counter() - clock, peak_mb()
        size = sum(p.stat().st_size for p in Path(tmp).iterdir())
        if kind != 'drawn': assert len(export.read_codes(Path(tmp)/f'codes.{kind}')[0]['files']) == n # all of it can be read
        else: assert len(list(Path(tmp).iterdir())) == n
    print(json.dumps(dict(start=start, peak=peak, images=n, seconds=seconds, bytes=size)))

def child(kind, folder, n):
    "What `measure` says."
    done = subprocess.run([sys.executable, __file__, '--measure', kind, str(folder), str(n)], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout)

def line(kind, found):
    "A line of the table: medians and spread of what the processes said."
    n, seconds = found[0]['images'], spread([f['seconds'] for f in found])
    return dict(name=f'{n:,} {"drawn" if kind == "drawn" else f"to .{kind}"}', images=n, seconds=seconds, images_per_second=n/seconds['median'],
                start_mb=spread([f['start'] for f in found]), peak_mb=spread([f['peak'] for f in found]), bytes=found[0]['bytes'])

def main(args):
    if args.measure: return measure(args.measure[0], args.measure[1], int(args.measure[2]))
    sizes = (100, 2000) if args.quick else (1000, 100_000)
    with tempfile.TemporaryDirectory(dir=args.folder) as tmp:
        small_model(tmp)
        for n in sizes: make_images(Path(tmp)/f'{n}.npy', n)
        found = {(kind, n): [] for kind in KINDS for n in sizes}
        for i in range(args.repeats):
            for kind, n in (list(found) if i%2 else list(found)[::-1]):
                if kind != 'drawn' or i == 0: found[kind, n].append(child(kind, tmp, n))
    peaks = [[r['peak'] for r in found['safetensors', n]] for n in sizes[::-1]]
    report('export', peaks, TARGET, [line(kind, f) for (kind, _), f in found.items()], at_most=True, write=not args.quick,
           what='peak memory of encoding 100,000 images over 1,000', image_size=IMAGE_SIZE, channels=CHANNELS, packages=('safetensors',))

if __name__ == '__main__':
    p = parser(__doc__, repeats=3)
    p.add_argument('--folder', type=Path, help='where the temporary folder is made')
    p.add_argument('--measure', nargs=3, metavar=('KIND', 'FOLDER', 'N'), help='measure one kind, print JSON; the script calls itself with this')
    run(main, p)
