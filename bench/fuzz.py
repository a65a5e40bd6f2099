"""What do the commands say to arguments, files and environments that nobody would give them on purpose?

Some hundred calls of all commands, made up from a seed: odd values for every flag, run names and paths, checkpoints whose settings,
weights or facts were damaged, priors, tensors and compressed files that were, folders of odd files, environments with a variable wrong. Each call is a process of its own, forked from one
that has imported PyTorch already, in an empty folder. A call is *good* when it ends with status 0, 1, 2 or 130 within its time, says at most
two lines on an error, prints no traceback, and, when the input was wrong, leaves nothing behind. Headline: the share of good calls.

`python bench/fuzz.py --repeats 400` makes 400 calls; `--only 17` repeats call 17 and prints what it said. Needs a system that can fork.
"""
import contextlib, json, os, random, shutil, signal, sys, tempfile, time, traceback
from pathlib import Path
from vae_nbdev.core import InputError
from common import RESULTS, command, machine, parser, run, versions, write_whole

LIMIT = 60 # seconds that a call may take
ODD = ['', ' ', '0', '-1', '1', '3', '1e308', '-1e308', 'nan', 'inf', '9'*30, '9'*400, 'x'*5000, '\udcff\udcfe', '..', '.', '/',
       '../..', '~', '~nobodyatall/x', '/dev/null', '/proc/self/mem', '--', '-', '💥', 'None', 'True', '1,2', '1,', ',', '0.5,0.5',
       'mnist', 'digits', 'folder', './there', 'there', 'file', 'good', 'good/model.safetensors', 'a\nb', "it's", '%s', '{}', '\x1b[31m',
       'model.safetensors', 'good/config.json', 'none', 'auto', '1e-400', '0x10', '١٢', '1_000', '+5', 'null']
QUICK = ['--num_epochs', '1', '--limit', '48', '--width', '8', '--batch_size', '16', '--depth', '1']
COMMANDS = ['vae_train']*4 + ['vae_generate']*4 + ['vae_reconstruct', 'vae_evaluate', 'vae_compress', 'vae_decompress', 'vae_doctor',
                                                  'vae_fit_prior', 'vae_play', 'vae_compare', 'vae_encode', 'vae_export']*2
NAMES = ['r', '', '.', '..', 'a/b', '/abs', 'x'*300, '\udcff', 'a b', '-x', 'good', 'file', '💥', 'checkpoints', 'con', "q'q"]


def flags_of(name):
    "Flags of a command."
    from vae_nbdev import cli
    return [f for f in cli.make_parser(getattr(cli, name))._option_string_actions if f.startswith('--') and f not in ('--help', '--version')]


def damage_json(rng, text):
    "A config with one thing wrong."
    d = json.loads(text)
    section = rng.choice(list(d))
    values = [None, [], {}, '', 'x'*1000, True, -1, 0, 10**9, 10**30, 10**400, 1e308, [[[]]], 'nan', {'a': 1}]
    kind = rng.randrange(7)
    if kind == 0: return text[:rng.randrange(len(text))]
    if kind == 1: return '['*200_000
    if kind == 2: d.pop(section)
    if kind == 3: d[section] = rng.choice(values)
    if kind == 4: d[section].pop(rng.choice(list(d[section])))
    if kind == 5: d[section][rng.choice(list(d[section]))] = rng.choice(values)
    if kind == 6: d[section]['unheard_of'] = 1
    return json.dumps(d)


def damage_bytes(rng, data):
    "Weights with one thing wrong."
    kind, i = rng.randrange(6), rng.randrange(len(data))
    if kind == 0: return data[:i]
    if kind == 1: return data[:i] + bytes([data[i] ^ 255]) + data[i + 1:]
    if kind == 2: return b''
    if kind == 3: return (2**60).to_bytes(8, 'little') + data[8:]
    if kind == 4: return data + b'more'
    return data[:8] + data[8:400].replace(b'F32', b'I64') + data[400:]


def odd_folder(rng, folder):
    "A folder of pictures, some of which are none."
    from PIL import Image
    folder.mkdir(parents=True)
    for i in range(rng.randrange(6)):
        mode = rng.choice(['RGB', 'L', 'RGBA', 'P', '1', 'I', 'I;16', 'CMYK', 'LA', 'F'])
        size = rng.choice([(1, 1), (3, 200), (64, 64), (17, 31)])
        suffix = rng.choice(['.png', '.jpg', '.tif', '.gif', '.bmp', '.JPG', ''])
        with contextlib.suppress(Exception): Image.new(mode, size).save(folder/f'{i}{suffix}', format=rng.choice(['PNG', 'JPEG', 'TIFF', 'GIF']))
    for i in range(rng.randrange(4)): (folder/f'junk{i}{rng.choice([".png", ".txt", ".heic", ".jpg"])}').write_bytes(os.urandom(rng.randrange(200)))
    if rng.random() < .3: (folder/'loop').symlink_to('.')
    if rng.random() < .3: (folder/'broken.png').symlink_to('nowhere')


FILES = {'vae_decompress': 'good.vae', 'vae_doctor': 'case.safetensors', 'vae_generate': 'good/prior_mixture.safetensors',
         'vae_evaluate': 'good/prior_mixture.safetensors'} # what a command reads beside a run


def plain_call(rng, name):
    "A call with nothing wrong in it."
    if name == 'vae_train': return [rng.choice(NAMES if rng.random() < .3 else ['r']), *QUICK]
    model = ['good'] if rng.random() < .8 else [rng.choice(ODD)]
    if name == 'vae_doctor': return [*(model if rng.random() < .6 else ['case.safetensors']), '--limit', '8']
    if name == 'vae_fit_prior': return [*model, '--num_epochs', '1', '--limit', '32', '--prior', rng.choice(['mixture', 'flow', 'flow_matching'])]
    if name == 'vae_compare': return [*model, 'other', *(['good'] if rng.random() < .2 else [])]
    if name == 'vae_encode': return [*model, '--limit', '8', *(['--output_path', rng.choice(['c.npz', 'file', 'good/c.safetensors'])] if rng.random() < .3 else [])]
    if name == 'vae_export': return model
    flagged = ['--checkpoint_path', *model] if rng.random() < .8 else []
    if name == 'vae_play': return [*flagged, '--no_browser']
    if name == 'vae_compress': return ['digits' if rng.random() < .7 else rng.choice(ODD), 'new.vae', *flagged, '--limit', '4']
    if name == 'vae_decompress': return ['good.vae', rng.choice(['new', 'new.npy', rng.choice(ODD)]), *flagged]
    if name == 'vae_evaluate': flagged += ['--num_importance_samples', '2', '--limit', '8']
    if name in FILES and rng.random() < .3: flagged += ['--prior', rng.choice(['mixture', FILES[name]])]
    return flagged


def make_call(rng, here, good):
    "Arguments and environment of one call; the files that it needs are written to `here`."
    name, env = rng.choice(COMMANDS), {}
    shutil.copytree(good, here/'good')
    for p in good.parent.glob('*.*'): shutil.copy(p, here)
    if name == 'vae_compare': shutil.copytree(good, here/'other')
    (here/'there').mkdir()
    (here/'file').write_text('text')
    argv, flags = plain_call(rng, name), flags_of(name)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])): argv += [rng.choice(flags), rng.choice(ODD)]
    kind = rng.random()
    if kind < .15: (here/'good/config.json').write_text(damage_json(rng, (here/'good/config.json').read_text()))
    elif kind < .3:
        path = here/(FILES[name] if name in FILES and rng.random() < .5 else 'good/model.safetensors')
        path.write_bytes(damage_bytes(rng, path.read_bytes()))
    elif kind < .4:
        odd_folder(rng, here/'pictures')
        if name == 'vae_compress': argv[0] = 'pictures'
        elif name not in ('vae_decompress', 'vae_play', 'vae_compare', 'vae_export'): argv += ['--dataset', 'folder', '--data_root', 'pictures']
        if name == 'vae_train': argv += ['--image_size', '16']
    elif kind < .5 and name == 'vae_train':
        argv = ['good', *rng.choice([['--resume'], ['--overwrite', *QUICK]]), *argv[1 + len(QUICK):]]
        for p in (here/'good/checkpoints').glob('*'):
            if rng.random() < .7: p.write_bytes(damage_bytes(rng, p.read_bytes()))
    elif kind < .6:
        env = rng.choice([dict(WORLD_SIZE='2'), dict(MPLBACKEND='nope'), dict(HOME=''), dict(VAE_NBDEV_DATA='file'), dict(LOCAL_RANK='x'),
                          dict(VAE_NBDEV_CACHE='file'), dict(COLUMNS='0'), dict(PYTHONIOENCODING='ascii'), dict(TMPDIR='/nowhere')])
    return [name, *argv], env


def tree(folder):
    "Everything in a folder, with its size; locks aside."
    return {str(p.relative_to(folder)): p.lstat().st_size for p in folder.rglob('*') if p.name != '.lock' and not p.is_dir()}


def call(argv, env, here, out):
    "One call in a forked process; returns its status (None: it took too long) and its seconds."
    start, pid = time.time(), os.fork()
    if not pid:
        try:
            os.chdir(here)
            os.environ.update(env)
            fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for n in (1, 2): os.dup2(fd, n)
            encoding = env.get('PYTHONIOENCODING', 'utf-8')
            sys.stdout, sys.stderr = (open(n, 'w', 1, encoding, closefd=False) for n in (1, 2))
            sys.argv = argv
            from vae_nbdev.cli import main
            main()
            os._exit(0)
        except SystemExit as e: os._exit(e.code if isinstance(e.code, int) else 0 if e.code is None else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    while time.time() - start < LIMIT:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status), time.time() - start
        if argv[0] == 'vae_play' and b'Ctrl-C ends it' in out.read_bytes(): os.kill(pid, signal.SIGINT)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None, LIMIT


def judge(status, said, before, after):
    "What is wrong with a call, or None."
    if status is None: return 'took too long'
    if status not in (0, 1, 2, 130): return f'status {status}'
    if 'Traceback' in said: return 'a traceback'
    complaint = [l for l in said.splitlines() if l.startswith(('vae_', 'usage'))]
    if status and len(complaint) > 2: return f'{len(complaint)} lines of complaint'
    if status and max(map(len, said.splitlines() or [''])) > 1500: return 'a line of more than 1,500 characters'
    hidden = [p for p in after if Path(p).name.startswith('.') and p not in before and Path(p).name != '.lock']
    if hidden: return f'left {hidden[0]}'
    if status == 2 and after != before and not any('damaged' in p for p in after): return f'status 2, but changed {sorted(after.items() ^ before.items())[0][0]}'


def main(args):
    if not hasattr(os, 'fork'): raise InputError('this needs a system that can fork')
    import matplotlib
    import torch
    import vae_nbdev.bytes, vae_nbdev.doctor, vae_nbdev.evaluate, vae_nbdev.export, vae_nbdev.runs, vae_nbdev.serve # once for all calls
    from safetensors.torch import save_file
    matplotlib.use('agg')
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix='fuzz'))
    os.environ.update(VAE_NBDEV_CACHE=str(home/'cache'), VAE_NBDEV_DATA=str(home/'data'), OMP_NUM_THREADS='1')
    levels = ['--likelihood_type', 'discretized_logistic', '--num_levels', '17', '--scale_mode', 'per_pixel', '--scale', '0.1']
    for argv in (['vae_train', 'good', '--runs', '.', *QUICK, '--num_epochs', '2', '--limit', '64', '--no-decoder_labels',
                  '--encoder_labels', 'none', *levels],
                 ['vae_fit_prior', 'good', '--prior', 'mixture', '--num_epochs', '1', '--components', '3'],
                 ['vae_compress', 'digits', 'good.vae', '--checkpoint_path', 'good', '--limit', '4']):
        if call(argv, {}, home, home/'out')[0]: raise InputError(f"nothing to begin with: {(home/'out').read_text()[-300:]}")
    save_file(dict(images=torch.rand(20, 1, 8, 8), mu=torch.randn(20, 3), logvar=torch.zeros(20, 3)), home/'case.safetensors')
    bad, counts, seconds = [], {}, []
    numbers = range(args.repeats) if args.only is None else [args.only]
    for i in numbers:
        rng, here = random.Random(f'{args.seed}/{i}'), home/f'call{i}'
        here.mkdir()
        argv, env = make_call(rng, here, home/'good')
        before = tree(here)
        status, took = call(argv, env, here, home/'out')
        said = (home/'out').read_text(errors='replace')
        wrong = judge(status, said, before, tree(here))
        counts[str(status)] = counts.get(str(status), 0) + 1
        seconds.append(took)
        shown = ' '.join(f'{k}={v}' for k,v in env.items()) + ' ' + ' '.join(repr(a[:60]) for a in argv)
        if wrong or args.only is not None: print(f'{i}: {wrong}: {shown.strip()}\n{said[-800:]}', flush=True)
        if wrong: bad.append(dict(call=i, wrong=wrong, argv=shown.strip()))
        shutil.rmtree(here, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    n = len(numbers)
    print(f'{n - len(bad)} of {n} calls are good; statuses {counts}; the longest took {max(seconds):.0f} s')
    if args.quick or args.only is not None: return
    result = dict(name='fuzz', calls=n, good=n - len(bad), statuses=counts, bad=bad, seed=args.seed, longest_seconds=round(max(seconds), 1),
                  machine=machine(), versions=versions(), command=command(), date=time.strftime('%Y-%m-%d'))
    with write_whole(RESULTS/'fuzz.json') as f: f.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    p = parser(__doc__, repeats=400)
    p.add_argument('--seed', type=int, default=0, metavar='N', help='seed of the calls (default: 0)')
    p.add_argument('--only', type=int, metavar='N', help='make call N alone, and print what it said')
    run(main, p)
