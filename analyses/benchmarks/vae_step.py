"""What does a training step of ours cost, beside a loop written by hand? A dense VAE on binary pixels, one thread.

Both take the same network, closed-form KL, fused Adam, one-cycle rate and batches by a permutation. A step of ours is
``fit`` of many steps less ``fit`` of one, so that what comes before and after is not counted. They alternate in one
process; seconds are the thread's own, since a shared machine's clock also counts what others do.
"""

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
from ppl_models.nn import Dense
from ppl_models.scripts import Quick, Seed, script

ROWS, HIDDEN, RATE = 2048, 400, 3e-3
Repeats = Annotated[int, typer.Option(min=2, help="Paired repetitions after one to warm up.")]


class ByHand(nn.Module):
    """784-400-L and back, with the loss of a batch, nats a row."""

    def __init__(self, pixels: int, latent: int) -> None:
        super().__init__()
        self.encoder, self.loc = nn.Sequential(nn.Linear(pixels, HIDDEN), nn.SiLU()), nn.Linear(HIDDEN, latent)
        self.log_scale = nn.Linear(HIDDEN, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, pixels))

    def forward(self, x: Tensor) -> Tensor:
        """Minus the ELBO of a batch, a row."""
        hidden = self.encoder(2 * x - 1)
        loc, log_scale = self.loc(hidden), self.log_scale(hidden).clamp(-10, 10)
        logits = self.decoder(loc + log_scale.exp() * torch.randn_like(loc))
        missed = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (loc.square() + (2 * log_scale).exp() - 1).sum() - log_scale.sum()
        return (missed + kl) / len(x)


def by_hand(rows: Tensor, *, latent: int, batch: int, steps: int, seed: int) -> float:
    """Seconds a step of the loop written by hand."""
    torch.manual_seed(seed)
    net, generator = ByHand(rows.shape[1], latent), torch.Generator().manual_seed(seed)
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


def ours(train: Dataset, *, latent: int, batch: int, steps: int, seed: int) -> float:
    """Seconds a step of ``fit``."""

    def whole(count: int) -> float:
        """Seconds of a fit of so many steps."""
        family, started = VAE(train.schema, latent=latent, network=Dense((HIDDEN,))), thread_time()
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
    for latent, batch in ((20, 128), (20, 256), (40, 128), (40, 256)):
        settings = {"latent": latent, "batch": batch, "steps": 10 if quick else 300, "seed": seed}
        pairs = np.array([(ours(train, **settings), by_hand(pixels, **settings)) for _ in range(repeats + 1)])[1:]
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75])
        ms = 1000 * np.median(pairs, axis=0)
        line = {"net": f"784-{HIDDEN}-{latent}", "batch": batch, "ours, ms": ms[0], "by hand, ms": ms[1]}
        line |= {"ratio": middle, "ratio, 25 %": low, "ratio, 75 %": high}
        print(pd.DataFrame([line]).round(3).to_string(index=False), flush=True)
    print(f"Thread seconds, one thread, {repeats} pairs in one process, {settings['steps']} steps each.")


if __name__ == "__main__":
    script(main)
