"""One MLP VAE on MNIST, trained by three pieces of code in turn: seconds per epoch.

The same in all: 784-400-20, ReLU, cross-entropy of grey levels plus KL, batches of 128 in a new order each epoch, Adam at 1e-3, the
60,000 training images, float32, this machine's threads, one process; only the training epoch is timed, with the images read beforehand.

- vae_nbdev: `Trainer` and `Batches`, with its checks, sums and learning-rate schedule; AdamW without decay, which is Adam.
- pytorch example: the recipe of pytorch/examples/vae, in our words: torchvision's MNIST with ToTensor in a DataLoader, sigmoid and
  binary_cross_entropy summed, `loss.item()` at each step.
- pythae 0.1.2: its BaseTrainer, VAE and BaseDataset (images decoded to floats beforehand) with two networks of these sizes. Optional:
  pip install -e '.[bench]'

Denormal numbers are flushed to zero for all three, which only helps the peers: vae_nbdev's commands do it, the others do not.
Headline, the last line: seconds of the PyTorch example over those of vae_nbdev; the line before it is the same for pythae.
"""
import logging, os
from contextlib import redirect_stderr
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from time import perf_counter
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from vae_nbdev.config import TrainConfig, VAEConfig
from vae_nbdev.data import Batches, data_root, load_dataset
from vae_nbdev.trainer import Trainer
from vae_nbdev.vae import VAE
from common import alternate, headline, parser, ratios, report, row, run, spread

TARGET, PYTHAE_TARGET = 1.7, 1.1
D, HIDDEN, LATENT, BATCH, RATE = 784, 400, 20, 128, 1e-3

def ours(images):
    "Seconds of an epoch of the Trainer."
    config = VAEConfig(image_size=28, architecture='mlp', width=HIDDEN, depth=1, latent_dim=LATENT, likelihood_type='bce')
    settings = TrainConfig(num_epochs=1, batch_size=BATCH, learning_rate=RATE, lr_schedule='constant', warmup_steps=0, device='cpu')
    trainer = Trainer(VAE(config), Batches(images, batch_size=BATCH, shuffle=True), Batches(images[:1]), settings)
    start = perf_counter()
    trainer.fit()
    return perf_counter() - start

class ExampleVAE(nn.Module):
    "Five linear layers; the decoder ends in a sigmoid."
    def __init__(self):
        super().__init__()
        self.hidden, self.mu, self.logvar = nn.Linear(D, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.hidden2, self.pixels = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, D)

    def forward(self, x):
        h = F.relu(self.hidden(x.view(-1, D)))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu)*torch.exp(0.5*logvar)
        return torch.sigmoid(self.pixels(F.relu(self.hidden2(z)))), mu, logvar

def example(dataset):
    "Seconds of an epoch of the PyTorch example's recipe."
    model, loader = ExampleVAE().train(), DataLoader(dataset, batch_size=BATCH, shuffle=True)
    optimizer, total = torch.optim.Adam(model.parameters(), lr=RATE), 0.
    start = perf_counter()
    for x,_ in loader:
        optimizer.zero_grad()
        probs, mu, logvar = model(x)
        kl = -0.5*torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = F.binary_cross_entropy(probs, x.view(-1, D), reduction='sum') + kl
        loss.backward()
        total += loss.item()
        optimizer.step()
    return perf_counter() - start

def pythae_networks():
    "An encoder and a decoder for pythae; its own have 512 hidden units."
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.hidden, self.mu, self.logvar = nn.Linear(D, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        def forward(self, x):
            h = F.relu(self.hidden(x.reshape(-1, D)))
            return ModelOutput(embedding=self.mu(h), log_covariance=self.logvar(h))
    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.hidden, self.pixels = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, D)
        def forward(self, z): return ModelOutput(reconstruction=torch.sigmoid(self.pixels(F.relu(self.hidden(z)))).view(-1, 1, 28, 28))
    return Encoder(), Decoder()

def pythae(dataset):
    "Seconds of an epoch of pythae's BaseTrainer; its progress bar goes to a file that is thrown away."
    from pythae.models import VAE as PythaeVAE, VAEConfig as PythaeConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    with TemporaryDirectory() as folder, open(os.devnull, 'w') as null, redirect_stderr(null):
        settings = BaseTrainerConfig(output_dir=folder, num_epochs=1, learning_rate=RATE, per_device_train_batch_size=BATCH, no_cuda=True)
        model = PythaeVAE(PythaeConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss='bce'), *pythae_networks())
        trainer = BaseTrainer(model, dataset, training_config=settings)
        trainer.prepare_training()
        start = perf_counter()
        trainer.train_step(1)
        return perf_counter() - start

def main(args):
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    parts = [load_dataset('mnist', split) for split in ('train', 'valid')]
    images, labels = (torch.cat([getattr(p, name) for p in parts]) for name in ('images', 'labels'))
    n = 6000 if args.quick else len(images)
    from torchvision import transforms
    from torchvision.datasets import MNIST
    mnist = Subset(MNIST(data_root(), transform=transforms.ToTensor()), range(n)) if args.quick else MNIST(data_root(), transform=transforms.ToTensor())
    functions = {'vae_nbdev': lambda: ours(images[:n]), 'pytorch example': lambda: example(mnist)}
    if find_spec('pythae'):
        from pythae.data.datasets import BaseDataset
        logging.disable(logging.INFO)
        decoded = BaseDataset(images[:n]/255, labels[:n])
        functions['pythae'] = lambda: pythae(decoded)
    else: print("pythae is not installed and left out: pip install -e '.[bench]'")
    times = alternate(functions, args.repeats)
    others = {name: ratios(t, times['vae_nbdev']) for name,t in times.items() if name != 'vae_nbdev'}
    more = dict(pythae_ratio=spread(others['pythae']), pythae_target=PYTHAE_TARGET) if 'pythae' in others else {}
    rows = [row(name, t, n) for name,t in times.items()]
    report('peers', (times['pytorch example'], times['vae_nbdev']), TARGET, rows, write=not args.quick, packages=('pythae',),
           before=[f'pythae: {headline(others["pythae"], PYTHAE_TARGET)}'] if more else [], what='seconds per epoch, PyTorch example over vae_nbdev', **more)

if __name__ == '__main__': run(main, parser(__doc__, repeats=7))
