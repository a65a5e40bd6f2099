"""What does a loss train that nobody here wrote? `audit` on the losses of an installed peer, pythae (extra `bench`).

Its models are made for images of 28x28 and 16 latents, and the method that each of them trains by, `loss_function`, is handed to `audit` as it is. That it
is the loss of the training is checked: on real digits, the model's own forward pass must report the number that the method gives for its own output.
What is found is compared with what the peer documents, where that can be said in numbers: the beta it was made with, and a Gaussian of sigma 1 or a
Bernoulli. Optional: pip install -e '.[bench]'. Writes results/audit.json; the last line counts losses, mistakes and surprises.
"""
import argparse, json
from datetime import date
from importlib.util import find_spec
import torch
from vae_nbdev.audit import audit, pick
from vae_nbdev.core import InputError, write_whole
from vae_nbdev.data import load_dataset
from common import RESULTS, Parser, command, machine, run, versions

SHAPE, LATENT = (1, 28, 28), 16

def models():
    "Name, model, what the audit is told, and the beta that its documentation promises."
    import pythae.models as m
    sizes, grey = dict(input_dim=SHAPE, latent_dim=LATENT), dict(likelihood='gaussian', sigma=1.)
    black = dict(likelihood='bernoulli', binary=True)
    yield 'VAE, mse', m.VAE(m.VAEConfig(**sizes)), grey, 1.
    yield 'VAE, bce', m.VAE(m.VAEConfig(reconstruction_loss='bce', **sizes)), black, 1.
    yield 'BetaVAE, mse, beta 4', m.BetaVAE(m.BetaVAEConfig(beta=4., **sizes)), grey, 4.
    yield 'BetaVAE, bce, beta 4', m.BetaVAE(m.BetaVAEConfig(beta=4., reconstruction_loss='bce', **sizes)), black, 4.
    yield 'DisentangledBetaVAE, C 50', m.DisentangledBetaVAE(m.DisentangledBetaVAEConfig(beta=10., C=50., warmup_epoch=0, **sizes)), grey, 10.

def loss_of(model):
    "The peer's own method, called as `audit` calls a loss."
    more = dict(epoch=1) if 'epoch' in model.loss_function.__code__.co_varnames else {}
    return pick(lambda x, recon, mu, logvar: model.loss_function(recon, x, mu, logvar, None, **more), 0)

def trains_by_it(model, loss, x):
    "How far the number that the forward pass reports is from the loss of its own output."
    seen, encode = {}, model.encoder.forward
    model.encoder.forward = lambda t: seen.setdefault('code', encode(t))
    try:
        with torch.no_grad(): out = model(dict(data=x), epoch=1)
    finally: model.encoder.forward = encode
    code = seen['code']
    with torch.no_grad(): value = loss(x, out.recon_x, code.embedding, code.log_covariance)
    return abs(value - out.loss).item()/abs(out.loss).item()

def main(args):
    if find_spec('pythae') is None: raise InputError("this audits pythae, which is not installed: pip install -e '.[bench]'")
    torch.manual_seed(0)
    x, rows = load_dataset('digits', 'test', image_size=28, limit=32).images/255, []
    for name,model,told,beta in models():
        loss = loss_of(model)
        a = audit(loss, SHAPE, LATENT, beta=beta, **told)
        rows.append(dict(name=name, promised_beta=beta, forward_differs=trains_by_it(model.eval(), loss, (x > .5).float() if 'bce' in name else x))
                    | {k: v for k,v in a.as_dict().items() if k != 'claimed'})
        print(f'{name}\n' + '\n'.join(f'    {line}' for line in str(a).splitlines()), flush=True)
    wrong = sum(not r['ok'] for r in rows)
    off = sum('target' not in {f['code'] for f in r['findings']} and abs(r['beta']/r['promised_beta'] - 1) > 1e-6 for r in rows)
    result = dict(name='audit', peer='pythae', image_shape=SHAPE, latent_dim=LATENT, losses=len(rows), with_mistakes=wrong, beta_not_as_promised=off, rows=rows,
                  machine=machine(), versions=versions('pythae'), command=command(), date=date.today().isoformat())
    if not args.quick:
        with write_whole(RESULTS/'audit.json') as tmp: tmp.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'{len(rows)} losses of pythae: {wrong} with mistakes, {off} with another beta than promised')

if __name__ == '__main__':
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='print only')
    p.set_defaults(repeats=1)
    run(main, p)
