"""Does memory grow with the number of images? Peak memory of decoding a folder and of one shuffled epoch of batches, for n and 10n JPEG files.
With `--drawn`, also of drawing: `vae_generate --separate` for 1,000 and for 100,000 images of 64x64 pixels, from a small untrained model.

Every measurement is a process of its own, which says what it holds after its imports and its peak at the end. The files, 178x218 pixels
as in CelebA, are made once and linked; one in a hundred is broken, so that rows have to be left out. What a process holds includes Python and
torch, which is most of it; the table also has what is added to that, of which some hundred bytes a file are their names. Everything is in a temporary
folder. `--large` adds an epoch over a cache file of 200,000 images, which takes 2.5 GB on the disk. Headline: peak at 10n over peak at n.
"""
import json, os, subprocess, sys, tempfile
from pathlib import Path
from time import perf_counter
from common import parser, report, run, spread

TARGET = 1.10
LARGE = 200_000
IMAGE_SIZE, BATCH = 64, 128

def peak_mb():
    "The most memory that this process held so far, in MB."
    status = Path('/proc/self/status') # on Linux; ru_maxrss, which a child inherits, could be the parent's
    if status.exists(): return int(status.read_text().split('VmHWM:')[1].split()[0])*1024/1e6
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6 # bytes on macOS

def measure(source):
    "In a process of its own: decode a folder, or map a file, and take a shuffled epoch of it; prints JSON."
    from vae_nbdev.data import Batches, load_dataset, map_images
    start, clock = peak_mb(), perf_counter()
    source = Path(source)
    images = load_dataset('folder', root=source, progress=False).images if source.is_dir() else map_images(source)
    decoded, decoding, clock = peak_mb(), perf_counter() - clock, perf_counter()
    n = sum(len(x) for x,_ in Batches(images, batch_size=BATCH, shuffle=True))
    assert n == len(images)
    print(json.dumps(dict(start=start, decoded=decoded, peak=peak_mb(), images=n, decoding_seconds=decoding, epoch_seconds=perf_counter() - clock)))

def measure_drawn(n):
    "In a process of its own: draw `n` images of 64x64 pixels into files; prints JSON."
    from vae_nbdev import runs
    from vae_nbdev.config import VAEConfig
    from vae_nbdev.vae import VAE
    with tempfile.TemporaryDirectory() as tmp:
        VAE(VAEConfig(image_size=IMAGE_SIZE, channels=3, width=8, depth=4, likelihood_type='gaussian')).save_pretrained(tmp)
        start, clock = peak_mb(), perf_counter()
        runs.draw_images(runs.load_model(tmp), runs.Draw(num_samples=n), None, Path(tmp)/'out/d.png', 8, True)
        assert len(list(Path(tmp, 'out').iterdir())) == n
    print(json.dumps(dict(start=start, decoded=peak_mb(), peak=peak_mb(), images=n, decoding_seconds=perf_counter() - clock, epoch_seconds=0.)))

def drawn(n):
    "What `measure_drawn` says."
    done = subprocess.run([sys.executable, __file__, '--measure_drawn', str(n)], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout)

def child(source, cache):
    "What `measure` says of a folder or file."
    env = os.environ | dict(VAE_NBDEV_CACHE=str(cache))
    done = subprocess.run([sys.executable, __file__, '--measure', str(source)], capture_output=True, text=True, env=env)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout)

def make_folder(folder, n, pixels):
    "`n` JPEG files, all different, every hundredth broken."
    from PIL import Image
    import numpy as np
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(n):
        path = folder/f'{i:06}.jpg'
        coarse = Image.fromarray(noise.integers(0, 256, (12, 10, 3), dtype=np.uint8))
        coarse.resize(pixels, Image.BICUBIC).save(path, quality=90)
        if i%100 == 50: path.write_bytes(path.read_bytes()[:500])

def link_folder(folder, source, copies):
    "Every file of `source` under several names."
    folder.mkdir()
    for path in source.iterdir():
        for k in range(copies): os.link(path, folder/f'{path.stem}_{k}.jpg')

def make_large(file):
    "A cache file of 200,000 images."
    import numpy as np
    shape, noise = (LARGE, 3, IMAGE_SIZE, IMAGE_SIZE), np.random.default_rng(0)
    with open(file, 'wb') as f:
        np.lib.format.write_array_header_1_0(f, dict(descr='|u1', fortran_order=False, shape=shape))
        block = noise.integers(0, 256, (1000, *shape[1:]), dtype=np.uint8)
        for _ in range(LARGE//1000): f.write(block)

def main(args):
    if args.measure: return measure(args.measure)
    if args.measure_drawn: return measure_drawn(args.measure_drawn)
    n = 300 if args.quick else 2000
    with tempfile.TemporaryDirectory(dir=args.folder) as tmp:
        tmp, found, extra = Path(tmp), {'n': [], '10n': []}, {}
        make_folder(tmp/'n', n, (178, 218))
        link_folder(tmp/'10n', tmp/'n', 10)
        for i in range(args.repeats):
            for name in (list(found) if i%2 else list(found)[::-1]): found[name].append(child(tmp/name, tmp/f'cache{i}'))
        rows = [line(f'{len(list((tmp/name).iterdir())):,} files', found[name]) for name in found]
        if args.large:
            make_large(tmp/'large.npy')
            large = [child(tmp/'large.npy', tmp) for _ in range(args.repeats)]
            rows.append(line(f'{LARGE:,} mapped', large))
            extra = dict(large_bytes=(tmp/'large.npy').stat().st_size)
    if args.drawn:
        few, many = (100, 1000) if args.quick else (1000, 100_000)
        small, large = drawn(few), drawn(many)
        rows += [line(f'{n:,} drawn', [r]) for n,r in ((few, small), (many, large))]
        extra['drawn_ratio'] = large['peak']/small['peak']
        print(f"drawing {many:,} images takes {extra['drawn_ratio']:.2f} times the memory of {few:,}")
    peaks = [[r['peak'] for r in found[name]] for name in ('10n', 'n')]
    report('memory', peaks, TARGET, rows, at_most=True, write=not args.quick, what='peak memory of decoding and one shuffled epoch, 10n files over n',
           n=n, image_size=IMAGE_SIZE, batch_size=BATCH, **extra)

def line(name, found):
    "A line of the table: medians and spread of what the processes said."
    def of(key): return spread([f[key] for f in found])
    return dict(name=name, images=found[0]['images'], start_mb=of('start'), decoded_mb=of('decoded'), peak_mb=of('peak'),
                added_mb=spread([f['peak'] - f['start'] for f in found]), decoding_seconds=of('decoding_seconds'), epoch_seconds=of('epoch_seconds'))

if __name__ == '__main__':
    p = parser(__doc__, repeats=3)
    p.add_argument('--large', action='store_true', help=f'also an epoch over {LARGE:,} images, with 2.5 GB on the disk')
    p.add_argument('--drawn', action='store_true', help='also draw 1,000 and 100,000 images into files, some minutes')
    p.add_argument('--folder', type=Path, help='where the temporary folder is made')
    p.add_argument('--measure', metavar='PATH', help='measure one folder or file, print JSON; the script calls itself with this')
    p.add_argument('--measure_drawn', type=int, metavar='N', help='draw N images, print JSON; the script calls itself with this')
    run(main, p)
