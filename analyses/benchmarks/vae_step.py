"""What does a training step cost, beside a loop written by hand? VAEs of binary pixels, dense and convolutional.

One thread serves each.

Both take the same network, closed-form KL, fused Adam, one-cycle rate and batches by a permutation. A step of ours is
``fit`` of many steps less ``fit`` of one, so that what comes before and after is not counted. They alternate in one
process; seconds are the thread's own, since a shared machine's clock also counts what others do.
"""

from collections.abc import Callable
from time import thread_time
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor, nn

from ppl_models import VAE, fit, prepare
from ppl_models.datasets import Dataset, image_table
from ppl_models.inference import Gradient
from ppl_models.nn import Convolutional, Dense
from ppl_models.scripts import Quick, Seed, script

ROWS, SIDE, RATE = 2048, 28, 3e-3
HIDDEN, CHANNELS, WIDTH = 400, (16, 32), 128
STEPS = {"dense": 300, "convolutional": 40}
Repeats = Annotated[int, typer.Option(min=2, help="Paired repetitions after one to warm up.")]


def dense(latent: int) -> tuple[int, nn.Module, nn.Module]:
    """784-400-L and back: the encoder's width, the encoder, the decoder."""
    encoder = nn.Sequential(nn.Linear(SIDE**2, HIDDEN), nn.SiLU())
    return HIDDEN, encoder, nn.Sequential(nn.Linear(latent, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, SIDE**2))


def convolutional(latent: int) -> tuple[int, nn.Module, nn.Module]:
    """Two convolutions of stride 2, a dense layer, and back."""
    first, second = CHANNELS
    features = second * (SIDE // 4) ** 2
    encoder = nn.Sequential(
        *(nn.Unflatten(1, (1, SIDE, SIDE)), nn.Conv2d(1, first, 3, stride=2, padding=1), nn.SiLU()),
        *(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten()),
        *(nn.Linear(features, WIDTH), nn.SiLU()),
    )
    decoder = nn.Sequential(
        *(nn.Linear(latent, WIDTH), nn.SiLU(), nn.Linear(WIDTH, features), nn.SiLU()),
        *(nn.Unflatten(1, (second, SIDE // 4, SIDE // 4)), nn.ConvTranspose2d(second, first, 3, 2, 1, 1), nn.SiLU()),
        *(nn.ConvTranspose2d(first, first, 3, 2, 1, 1), nn.SiLU(), nn.Conv2d(first, 1, 1), nn.Flatten()),
    )
    return WIDTH, encoder, decoder


class ByHand(nn.Module):
    """A VAE with the loss of a batch, nats a row."""

    def __init__(self, latent: int, layers: Callable[[int], tuple[int, nn.Module, nn.Module]] = dense) -> None:
        super().__init__()
        width, self.encoder, self.decoder = layers(latent)
        self.loc, self.log_scale = nn.Linear(width, latent), nn.Linear(width, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Minus the ELBO of a batch, a row."""
        hidden = self.encoder(2 * x - 1)
        loc, log_scale = self.loc(hidden), self.log_scale(hidden).clamp(-10, 10)
        logits = self.decoder(loc + log_scale.exp() * torch.randn_like(loc))
        missed = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (loc.square() + (2 * log_scale).exp() - 1).sum() - log_scale.sum()
        return (missed + kl) / len(x)


NETWORKS = {"dense": (Dense((HIDDEN,)), dense), "convolutional": (Convolutional(CHANNELS, (WIDTH,)), convolutional)}


def by_hand(rows: Tensor, kind: str, *, latent: int, batch: int, steps: int, seed: int) -> float:
    """Seconds a step of the loop written by hand."""
    torch.manual_seed(seed)
    net, generator = ByHand(latent, NETWORKS[kind][1]), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    started, order = thread_time(), iter(())
    for _ in range(steps):
        chosen = next(order, None)
        if chosen is None or len(chosen) < batch:
            order = iter(torch.randperm(len(rows), generator=generator).split(batch))
            chosen = next(order)
        optimiser.zero_grad(set_to_none=True)
        net(rows[chosen]).backward()
        optimiser.step()
        schedule.step()
    return (thread_time() - started) / steps


def ours(train: Dataset, kind: str, *, latent: int, batch: int, steps: int, seed: int) -> float:
    """Seconds a step of ``fit``."""

    def whole(count: int) -> float:
        """Seconds of a fit of so many steps."""
        family, started = VAE(train.schema, latent=latent, network=NETWORKS[kind][0]), thread_time()
        method = Gradient(steps=count, batch_size=batch, learning_rate=RATE, check_every=10 * steps)
        fit(family, train, seed=seed, method=method)
        return thread_time() - started

    return (whole(steps + 1) - whole(1)) / steps


def main(*, seed: Seed = 0, repeats: Repeats = 7, quick: Quick = False) -> None:
    """Time both in turn and print median milliseconds a step, and the ratio's median and quartiles."""
    random = np.random.default_rng(seed)
    images = image_table((random.random((ROWS, 28, 28)) < 0.2).astype(int), pixels="binary")
    train = prepare(images.frame, images.schema)(images.frame)
    pixels = train.values.float()
    for kind, latent, batch in (("dense", 20, 128), ("dense", 40, 256), ("convolutional", 20, 128)):
        settings = {"latent": latent, "batch": batch, "steps": 10 if quick else STEPS[kind], "seed": seed}
        both = [(ours(train, kind, **settings), by_hand(pixels, kind, **settings)) for _ in range(repeats + 1)]
        pairs = np.array(both)[1:]
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75])
        ms = 1000 * np.median(pairs, axis=0)
        line = {"net": kind, "latent": latent, "batch": batch, "ours, ms": ms[0], "by hand, ms": ms[1]}
        line |= {"ratio": middle, "ratio, 25 %": low, "ratio, 75 %": high}
        print(pd.DataFrame([line]).round(3).to_string(index=False), flush=True)
    print(f"Thread seconds, one thread, {repeats} pairs in one process.")


if __name__ == "__main__":
    script(main)
