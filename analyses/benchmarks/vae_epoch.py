"""How long is an epoch, beside NumPyro's? A dense VAE of binary pixels, 784-400-20, batches of 128, one thread.

NumPyro's epoch is one compiled loop over the batches; what it takes to compile is shown apart. Ours is ``fit`` of an
epoch's steps less ``fit`` of none to speak of, so that what comes before and after is not counted.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # it reads the flags
import numpy as np
import numpyro
import pandas as pd
from contests import REPEATS, timed
from jax import numpy as jnp
from jax.example_libraries import stax
from threadpoolctl import threadpool_limits
from vae_step import HIDDEN, RATE, SIDE, ours

from ppl_models import prepare
from ppl_models.datasets import image_table
from ppl_models.scripts import Quick, Seed, script

LATENT, BATCH = 20, 128


class Theirs:
    """The same VAE by NumPyro."""

    def __init__(self, rows: np.ndarray, *, seed: int) -> None:
        self.rows, self.seed, self.batches = jnp.asarray(rows, dtype=jnp.float32), seed, len(rows) // BATCH
        dist, silu = numpyro.distributions, stax.elementwise(jax.nn.silu)
        split = stax.FanOut(2), stax.parallel(stax.Dense(LATENT), stax.serial(stax.Dense(LATENT), stax.Exp))
        encoder = stax.serial(stax.Dense(HIDDEN), silu, *split)
        decoder = stax.serial(stax.Dense(HIDDEN), silu, stax.Dense(SIDE**2))

        def model(batch: jnp.ndarray) -> None:
            decode = numpyro.module("decoder", decoder, (BATCH, LATENT))
            with numpyro.plate("rows", BATCH):
                z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1))
                numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=batch)

        def guide(batch: jnp.ndarray) -> None:
            encode = numpyro.module("encoder", encoder, (BATCH, SIDE**2))
            loc, scale = encode(2 * batch - 1)
            with numpyro.plate("rows", BATCH):
                numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

        self.svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(RATE), numpyro.infer.TraceMeanField_ELBO())
        self.state = self.svi.init(jax.random.PRNGKey(seed), self.rows[:BATCH])
        self.epoch = jax.jit(self._epoch)

    def _epoch(self, state: object, key: jax.Array) -> object:
        order = jax.random.permutation(key, len(self.rows))

        def step(number: int, now: object) -> object:
            some = jax.lax.dynamic_slice_in_dim(order, number * BATCH, BATCH)
            return self.svi.update(now, self.rows[some])[0]

        return jax.lax.fori_loop(0, self.batches, step, state)

    def run(self) -> None:
        """One epoch more."""
        self.state = jax.block_until_ready(self.epoch(self.state, jax.random.PRNGKey(self.seed)))


def main(*, seed: Seed = 0, quick: Quick = False) -> None:
    """Print CPU seconds of an epoch of both, and the ratio."""
    random, number = np.random.default_rng(seed), 512 if quick else 20_480
    images = image_table((random.random((number, SIDE, SIDE)) < 0.2).astype(int), pixels="binary")
    train = prepare(images.frame, images.schema)(images.frame)
    theirs = Theirs(train.values.numpy(), seed=seed)
    compiled = timed(theirs.run).cpu
    steps, pairs = theirs.batches, []
    with threadpool_limits(1):
        for _ in range(REPEATS + 1):
            one = steps * ours(train, "dense", latent=LATENT, batch=BATCH, steps=steps, seed=seed)
            pairs.append((one, timed(theirs.run).cpu))
    table = pd.DataFrame(pairs[1:], columns=["ours_s", "numpyro_s"])
    ratio = table["ours_s"] / table["numpyro_s"]
    print(f"{steps} batches of {BATCH}; CPU seconds an epoch {table.median().round(3).to_dict()}", end=", ")
    print(f"NumPyro's first with tracing and compiling {compiled:.2f}")
    print(f"ratio {ratio.median():.3f} ({ratio.min():.3f} to {ratio.max():.3f})")


if __name__ == "__main__":
    script(main)
