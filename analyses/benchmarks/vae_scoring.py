"""What does scoring by importance draws cost, beside a loop written by hand? A dense VAE on binary pixels, one thread.

The loop takes the same noise for every row and as many rows at once as it is quickest with; ours also tells each row's
Monte Carlo error and k-hat, and its weights are summed in double precision.
"""

import math
from functools import partial

import numpy as np
import pandas as pd
import torch
from contests import REPEATS, timed
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from vae_step import HIDDEN, ByHand

from ppl_models import VAE, log_density, prepare
from ppl_models.datasets import Dataset, image_table
from ppl_models.nn import Dense
from ppl_models.scripts import Quick, Seed, script

LATENT, DRAWS, ROWS = 20, 1000, 200


@torch.no_grad()
def by_hand(net: ByHand, rows: Tensor, draws: int, at_once: int) -> float:
    """The mean bound by importance draws, nats a row."""
    noise, found = torch.randn(draws, 1, LATENT), []
    prior = -noise.new_tensor(2 * math.pi).log() * LATENT / 2
    for x in rows.split(at_once):
        hidden = net.encoder(2 * x - 1)
        loc, log_scale = net.loc(hidden), net.log_scale(hidden).clamp(-10, 10)
        z = loc + log_scale.exp() * noise
        logits = net.decoder(z)
        missed = nn.functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        log_prior = prior - z.square().sum(-1) / 2
        log_guide = prior - noise.square().sum(-1) / 2 - log_scale.sum(-1)
        found.append((log_prior - missed - log_guide).logsumexp(0) - math.log(draws))
    return float(torch.cat(found).mean())


def ours(family: VAE, rows: Dataset, draws: int) -> float:
    """The same by ``log_density``."""
    return log_density(family, rows, draws=draws).elpd


def main(*, seed: Seed = 0, quick: Quick = False) -> None:
    """Print CPU seconds of both, by how many rows the loop takes at once, and the throughput's ratio."""
    random, number, draws = np.random.default_rng(seed), 20 if quick else ROWS, 100 if quick else DRAWS
    images = image_table((random.random((number, 28, 28)) < 0.2).astype(int), pixels="binary")
    rows = prepare(images.frame, images.schema)(images.frame)
    family, net = VAE(images.schema, latent=LATENT, network=Dense((HIDDEN,))), ByHand(LATENT)
    family.adopt(rows)
    family.initialise(rows, seed=seed)
    family.eval()
    contenders = {"ours": partial(ours, family, rows, draws)}
    for at_once in (1, 4, 16):
        contenders[f"by hand, {at_once} rows at once"] = partial(by_hand, net, rows.values.float(), draws, at_once)
    with threadpool_limits(1):
        rounds = [{name: timed(run).cpu for name, run in contenders.items()} for _ in range(REPEATS + 1)][1:]
    cpu = pd.DataFrame(rounds)
    ratio = cpu.drop(columns="ours").min(axis=1) / cpu["ours"]
    print(f"784-{HIDDEN}-{LATENT}, {number} rows x {draws} draws; median CPU seconds")
    print(cpu.median().round(3).to_string())
    print(f"throughput, ours to the best by hand: {ratio.median():.3f} ({ratio.min():.3f} to {ratio.max():.3f})")


if __name__ == "__main__":
    script(main)
