"""Does a file have the length that the ELBO promises? Bits-back files of real images against minus the ELBO of the same images, and against PNG, WebP, gzip and G4.

Digits: the 10,000 test images of MNIST with the shipped model, binarised dynamically (as in its training) and at a threshold. Faces: the first 1,000
test images of CelebA with 32x32 pixels, and a small model with a discretised logistic, trained once on a CPU in some minutes:

    vae_train faces32 --dataset celeba --image_size 32 --likelihood_type discretized_logistic --scale 0.05 --scale_mode per_pixel --latent_dim 128 \\
        --width 32 --depth 3 --num_epochs 8 --batch_size 64 --learning_rate 0.002 --feature_weight 0 --beta_annealing_period 0

    python bench/bytes.py --faces runs/faces32

Every file is written and read back. A part of the images is also written by two processes, one with one and one with two threads; the bytes must be
the same. The ELBO is the plain model's, in single precision, a mean over three draws of z.

What does a learned prior save? The dynamically binarised digits once more with the shipped mixture prior (bench/priors.py), and both kinds of file in
several orders of the images, since a file is one draw of all codes. Against it, the fall of -log p(z), which is the rise of the ELBO; and at the
very same codes, what the coder spends on their bins against the density. The other formats get all images as one picture in rows of a hundred, and each image as a file of
its own. Peak memory is that of writing and reading 8,192 and 40,960 images of noise, mapped from a file, in processes of their own. Headline: bits of
the file over bits of minus the ELBO.
"""
import gzip, json, math, os, subprocess, sys, tempfile
from io import BytesIO
from pathlib import Path
from time import perf_counter
import numpy as np
import torch
from PIL import Image
from common import parser, report, run
from memory import peak_mb
from vae_nbdev.bytes import Codec, coders, compress, decompress, model_hash, pop, to_levels
from vae_nbdev.config import VAEConfig
from vae_nbdev.data import Batches, load_dataset, map_images
from vae_nbdev.elbo import log_normal
from vae_nbdev.evaluate import bound_images
from vae_nbdev.priors import prior_gain
from vae_nbdev.vae import VAE

TARGET = 1.01

def saved(img, bilevel, **how):
    "Bytes of one picture `(c,h,w)` in a format of Pillow."
    im = Image.fromarray(img[0].numpy() if len(img) == 1 else img.permute(1, 2, 0).numpy())
    out = BytesIO()
    (im.convert('1') if bilevel else im).save(out, **how)
    return out.tell()

def other_formats(images, bilevel):
    "Bytes of all images in other formats: as one picture, and as files of their own."
    n, c, h, w = images.shape
    ncol = 100 if n%100 == 0 else 1
    one = images.view(n//ncol, ncol, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, -1, ncol*w)
    raw = np.packbits(images.numpy() > 0) if bilevel else images.numpy()
    png, webp = dict(format='PNG', optimize=True), dict(format='WEBP', lossless=True, quality=100, method=6)
    out = {'no coding': raw.size, 'gzip': len(gzip.compress(raw.tobytes(), 9)), 'PNG, one picture': saved(one, bilevel, **png),
           'PNG, files': sum(saved(img, bilevel, **png) for img in images), 'WebP lossless, one picture': saved(one, False, **webp),
           'WebP lossless, files': sum(saved(img, False, **webp) for img in images)}
    if bilevel:
        g4 = dict(format='TIFF', compression='group4')
        out['G4, one picture'] = min(saved(one, True, **g4), saved(255 - one, True, **g4))
    return out

def timed(f):
    start = perf_counter()
    value = f()
    return value, perf_counter() - start

def pixels(images, how):
    "Images as they are coded: after binarisation."
    return torch.cat([(x*255).round().to(torch.uint8) for x,_ in Batches(images, batch_size=1000, binarize=how)])

def on_threads(name, images, folder):
    "Are the files of two processes the same, one with one and one with two threads?"
    np.save(folder/'few.npy', images.numpy())
    jobs = [subprocess.Popen([sys.executable, __file__, '--write', str(folder/f'few{n}.vae'), '--folder', str(folder), '--name', str(name)],
                             env=os.environ | dict(OMP_NUM_THREADS=str(n), MKL_NUM_THREADS=str(n))) for n in (1, 2)]
    if any([j.wait() for j in jobs]): sys.exit('a process with another number of threads failed')
    return (folder/'few1.vae').read_bytes() == (folder/'few2.vae').read_bytes()

def write_few(args):
    "In a process of its own: write the images in few.npy, with the threads that the environment says."
    name, _, prior = args.name.partition('+')
    threads = int(os.environ['OMP_NUM_THREADS'])
    if torch.get_num_threads() != threads: torch.set_num_threads(threads)
    compress(VAE.from_pretrained(name, prior=prior or None), torch.from_numpy(np.load(args.folder/'few.npy')), args.write)

def measure(name, ref, images, how, folder):
    "One set of images: file, round trip, threads, ELBO and other formats; `ref` is a model and, after a plus, its prior."
    n, path, (where, _, prior) = len(images), folder/'images.vae', str(ref).partition('+')
    model = VAE.from_pretrained(where, prior=prior or None)
    images = pixels(images, how)
    codec = Codec(model)
    done, writing = timed(lambda: compress(codec, images, path))
    back, reading = timed(lambda: torch.cat(list(decompress(codec, path))))
    same = on_threads(ref, images[:200], folder)
    elbos = [bound_images(model, Batches(images, batch_size=100), seed=s).elbo.double().mean().item() for s in range(3)]
    bits = -sum(elbos)/len(elbos)/math.log(2)
    exact = torch.equal(back, images)
    if not exact or not same: sys.exit(f'{name}: the round trip failed')
    numbers = images[0].numel()
    d = dict(name=name, images=n, model=model_hash(model), prior=codec.prior.name, file_bytes=done['bytes'], file_bits_per_dim=done['bits_per_dim'],
             elbo_bits_per_dim=bits/numbers, elbo_draws_bits_per_dim=[-e/math.log(2)/numbers for e in elbos],
             file_over_elbo=done['bits_per_dim']/(bits/numbers), round_trip=exact, same_bytes_on_two_threads=True,
             write_images_per_second=n/writing, read_images_per_second=n/reading)
    return d, other_formats(images, how != 'none')

def bins_cost(model, images):
    "Bits on the stack over bits of minus the ELBO, for several numbers of bins; no header, a mean over three stacks and five draws of z."
    bits = -sum(bound_images(model, Batches(images), seed=s).elbo.double().sum().item() for s in range(5))/5/math.log(2)
    out = []
    for b in (8, 10, 12, 14):
        codec, added = Codec(model, b), 0
        for s in range(3):
            coder = coders()[0](np.random.default_rng(s).integers(1, 2**32, 5000, dtype=np.uint32))
            start = coder.num_bits()
            for x in images.split(20): codec.push(coder, to_levels(x, codec.levels.top))
            added += (coder.num_bits() - start)/3
        out.append(dict(bits=b, images=len(images), over_elbo=added/bits))
    return out

def saved_by_prior(images, how, kind, orders, folder):
    "Bytes that a learned prior saves: by files, by -log p(z), and by both at the same codes."
    plain, learned = VAE.from_pretrained('mnist'), VAE.from_pretrained('mnist', prior=kind)
    images, n, sizes = pixels(images, how), len(images), []
    codecs = Codec(plain), Codec(learned)
    for s in range(orders):
        mixed = images[torch.randperm(n, generator=torch.Generator().manual_seed(s))]
        sizes.append([compress(c, mixed, folder/'order.vae')['bytes'] for c in codecs])
    gains = [prior_gain(plain, learned.prior, Batches(images, batch_size=500), seed=s)['gain'].value for s in range(10)]
    bits, density = 0, 0.
    for x in images.split(50):
        coder = coders()[0](np.random.default_rng(0).integers(1, 2**32, 5000, dtype=np.uint32))
        k = pop(coder, codecs[1].bins, *codecs[1].posterior(to_levels(x, 1))).view(len(x), -1)
        start, z = coder.num_valid_bits(), codecs[1].prior.middles[k].float()
        codecs[1].prior.push(coder, k)
        bits += k.numel()*codecs[1].prior.bits - (coder.num_valid_bits() - start)
        with torch.no_grad(): density += (learned.prior.log_prob(z) - log_normal(z, torch.zeros(()), torch.zeros(()))).sum().item()/math.log(2)
    by_files = sum(a - b for a,b in sizes)/orders
    by_elbo = sum(gains)/len(gains)/math.log(2)/8*n
    return dict(prior=codecs[1].prior.name, images=n, file_bytes=sizes, saved_bytes=by_files, elbo_bytes=by_elbo,
                elbo_draws_nats=gains, files_over_elbo=by_files/by_elbo, same_codes=dict(saved_bytes=bits/8, density_bytes=density/8, ratio=bits/density))

def memory_of(n, folder):
    "In a process of its own: write and read `n` small images of noise; prints JSON."
    torch.manual_seed(0)
    model = VAE(VAEConfig(image_size=8, architecture='mlp', width=32, depth=1, latent_dim=2)).eval()
    with open(folder/'noise.npy', 'wb') as f:
        np.lib.format.write_array_header_1_0(f, dict(descr='|u1', fortran_order=False, shape=(n, 1, 8, 8)))
        for _ in range(n//4096): f.write((torch.rand(4096, 64) < 0.5).to(torch.uint8).mul_(255).numpy().tobytes())
    images, start = map_images(folder/'noise.npy'), peak_mb()
    compress(model, images, folder/'noise.vae')
    count = sum(len(x) for x in decompress(model, folder/'noise.vae'))
    assert count == n
    print(json.dumps(dict(images=n, start_mb=start, peak_mb=peak_mb())))

def child(n, folder):
    "What `memory_of` says."
    done = subprocess.run([sys.executable, __file__, '--memory', str(n), '--folder', str(folder)], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout)

def main(args):
    if args.memory: return memory_of(args.memory, args.folder)
    if args.write: return write_few(args)
    torch.set_num_threads(1)
    n, sets, bins = 200 if args.quick else 10_000, [], []
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        digits = load_dataset('mnist', 'test', limit=n).images
        for how in 'dynamic', 'threshold':
            sets.append(measure(f'mnist, {how}', 'mnist', digits, how, tmp))
        sets.append(measure('mnist, dynamic, mixture', 'mnist+mixture', digits, 'dynamic', tmp))
        learned = saved_by_prior(digits, 'dynamic', 'mixture', 1 if args.quick else 4, tmp)
        if args.faces:
            faces = load_dataset('celeba', 'test', image_size=32, limit=100 if args.quick else 1000).images
            model = VAE.from_pretrained(args.faces)
            sets.append(measure('celeba 32x32', args.faces, faces, 'none', tmp))
            bins = bins_cost(model, faces[:100])
        memory = [child(m, tmp) for m in ((4096, 8192) if args.quick else (8192, 40960))]
    rows = [dict(name=f'{d["name"]}: {what}', bytes=size, bytes_per_image=size/d['images'],
                 bits_per_dim=8*size/d['images']/numbers(d))
            for d,others in sets for what,size in {'bits back, file': d['file_bytes'], '-ELBO': elbo_bytes(d), **others}.items()]
    before = [f"{d['name']}: file/-ELBO {d['file_over_elbo']:.4f}, {d['write_images_per_second']:.0f} images/s written, "
              f"{d['read_images_per_second']:.0f} read, round trip exact" for d,_ in sets]
    before.append(f"the mixture prior saves {learned['saved_bytes']:,.0f} bytes of {len(learned['file_bytes'])} files, {learned['elbo_bytes']:,.0f} by the ELBO; "
                  f"at the same codes {learned['same_codes']['ratio']:.4f} of what its density says")
    before.append(f"peak memory {memory[0]['peak_mb']:.0f} MB for {memory[0]['images']:,} images, {memory[1]['peak_mb']:.0f} MB for {memory[1]['images']:,}")
    pairs = [d['file_bits_per_dim'] for d,_ in sets], [d['elbo_bits_per_dim'] for d,_ in sets]
    report('bytes', pairs, TARGET, rows, at_most=True, write=not args.quick, packages=('constriction', 'pillow'), before=before,
           what='bits of the file over bits of minus the ELBO, one value a set of images', sets=[d for d,_ in sets], memory=memory, bins=bins, learned_prior=learned)

def numbers(d): return 3*32*32 if d['name'].startswith('celeba') else 28*28
def elbo_bytes(d): return round(d['elbo_bits_per_dim']*numbers(d)*d['images']/8)

if __name__ == '__main__':
    p = parser(__doc__, repeats=1)
    p.add_argument('--faces', metavar='RUN', help='run with a discretised logistic for faces of 32x32 pixels (default: no faces)')
    p.add_argument('--memory', type=int, metavar='N', help='measure the memory of N images, print JSON; the script calls itself with this')
    p.add_argument('--write', type=Path, metavar='FILE', help='write the images in few.npy as one file; the script calls itself with this')
    p.add_argument('--name', help='for --write: a model, and after a plus its prior')
    p.add_argument('--folder', type=Path, help='where --memory and --write find and leave files')
    run(main, p)
