"""The same mixtures by other libraries: scikit-learn, NumPyro, stock Pyro with automatic guides, pomegranate.

The two that climb by gradients begin at k-means++ centres of 2,000 rows and use Adam, in two ways: on all rows with a
constant rate, as SVI is written at first, and tuned by hand, on batches of 1,000 rows with a rate that falls like
1 / (1 + step / 500).
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import numpyro
import pyro
import torch
from contests import Contender
from jax import numpy as jnp
from numpyro.infer.autoguide import AutoNormal as NumPyroAutoNormal
from numpyro.infer.initialization import init_to_value as numpyro_init
from pomegranate.distributions import Normal as PomegranateNormal
from pomegranate.gmm import GeneralMixtureModel
from pyro import distributions as pyro_dist
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.initialization import init_to_value
from sklearn.cluster import kmeans_plusplus
from sklearn.mixture import BayesianGaussianMixture

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
Judge = Callable[[torch.Tensor], float]


@dataclass(frozen=True)
class Climb:
    """How a peer climbs.

    Attributes:
        batch: rows a step, if there are more.
        rate: Adam's.
        slowing: steps until the rate is half of that.
        steps: that are too few, and the most.
    """

    batch: float
    rate: float
    slowing: float
    steps: tuple[int, int]


CLIMBS = {"SVI": Climb(math.inf, 0.05, math.inf, (10, 200)), "SVI tuned": Climb(1000, 0.02, 500, (100, 10_000))}
FEW_STEPS = (5, 20)


def scikit_learn(
    x: np.ndarray, components: int, covariance: str, *, raw: np.ndarray, judge: Judge, seed: int, quick: bool
) -> dict:
    """``BayesianGaussianMixture`` from one start, of columns in their own units and standardised: the optima differ."""
    table = {"covariance_type": "diag" if covariance == "diagonal" else covariance, "tol": 0.0, "random_state": seed}

    def run(values: np.ndarray, passes: int) -> BayesianGaussianMixture:
        return BayesianGaussianMixture(n_components=components, max_iter=passes, **table).fit(values)

    def quality(values: np.ndarray, found: BayesianGaussianMixture) -> float:
        return judge(torch.tensor(found.predict_proba(values)))

    tables = {"1 start": raw, "1 start, standardised": x}
    budgets = (4, 20 if quick else 1000)
    return {
        f"scikit-learn, {name}": Contender(partial(run, values), partial(quality, values), *budgets)
        for name, values in tables.items()
    }


def _start(x: np.ndarray, components: int, covariance: str, seed: int) -> dict[str, np.ndarray]:
    """Even weights, centres and widths to begin with."""
    centres, _ = kmeans_plusplus(x[:2000], components, random_state=seed)
    start = {"weights": np.full(components, 1 / components), "loc": centres, "scale": np.full(centres.shape, 0.7)}
    if covariance == "full":
        start["correlation"] = np.broadcast_to(np.eye(x.shape[1]), (components, x.shape[1], x.shape[1]))
    return {name: value.astype(np.float32) for name, value in start.items()}


def _responsibilities(found: Mapping[str, np.ndarray], x: np.ndarray) -> torch.Tensor:
    """Each row's share of the components at one value of the parameters."""
    sites = {name: torch.tensor(np.asarray(value, dtype=float)) for name, value in found.items()}
    logits = sites["weights"].log() + _torch_components(sites).log_prob(torch.tensor(x)[:, None])
    return logits.softmax(-1)


def _torch_components(sites: Mapping[str, torch.Tensor]) -> pyro_dist.Distribution:
    """The components at these parameters."""
    if "correlation" not in sites:
        return pyro_dist.Normal(sites["loc"], sites["scale"]).to_event(1)
    return pyro_dist.MultivariateNormal(sites["loc"], scale_tril=sites["scale"][..., None] * sites["correlation"])


def pyro_svi(x: np.ndarray, components: int, covariance: str, *, judge: Judge, seed: int, quick: bool) -> dict:
    """Stock Pyro: the mixture with its components summed out, ``AutoNormal``, ``SVI``."""
    data, size = torch.tensor(x, dtype=torch.float32), x.shape[1]
    start = {name: torch.tensor(value) for name, value in _start(x, components, covariance, seed).items()}

    def model(batch: int) -> None:
        sites = {"weights": pyro.sample("weights", pyro_dist.Dirichlet(torch.ones(components)))}
        with pyro.plate("components", components):
            sites["loc"] = pyro.sample("loc", pyro_dist.Normal(torch.zeros(size), 1.0).to_event(1))
            sites["scale"] = pyro.sample("scale", pyro_dist.LogNormal(torch.full((size,), -0.5), 1.0).to_event(1))
            if covariance == "full":
                sites["correlation"] = pyro.sample("correlation", pyro_dist.LKJCholesky(size, 1.0))
        mixture = pyro_dist.MixtureSameFamily(pyro_dist.Categorical(sites["weights"]), _torch_components(sites))
        with pyro.plate("rows", len(data), subsample_size=batch) as some:
            pyro.sample("x", mixture, obs=data if batch == len(data) else data[some])

    def run(how: Climb, steps: int) -> dict[str, np.ndarray]:
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        guide = AutoNormal(model, init_loc_fn=init_to_value(values=start), init_scale=0.01)
        settings = {"optimizer": torch.optim.Adam, "optim_args": {"lr": how.rate}}
        rate = pyro.optim.LambdaLR(settings | {"lr_lambda": lambda step: 1 / (1 + step / how.slowing)})
        svi = SVI(model, guide, rate, Trace_ELBO())
        with pyro.validation_enabled(False):
            for _ in range(steps):
                svi.step(min(how.batch, len(data)))
                rate.step()
        return {name: value.detach().numpy() for name, value in guide.median().items()}

    def quality(found: Mapping[str, np.ndarray]) -> float:
        return judge(_responsibilities(found, x))

    return {
        f"Pyro, {name}": Contender(partial(run, how), quality, *(FEW_STEPS if quick else how.steps))
        for name, how in CLIMBS.items()
    }


def numpyro_svi(x: np.ndarray, components: int, covariance: str, *, judge: Judge, seed: int, quick: bool) -> dict:
    """NumPyro: the same model and guide, all steps in one compiled loop."""
    data, size = jnp.asarray(x, dtype=jnp.float32), x.shape[1]
    dist = numpyro.distributions

    def model(batch: int) -> None:
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(components)))
        with numpyro.plate("components", components):
            loc = numpyro.sample("loc", dist.Normal(jnp.zeros(size), 1.0).to_event(1))
            scale = numpyro.sample("scale", dist.LogNormal(jnp.full(size, -0.5), 1.0).to_event(1))
            if covariance == "full":
                root = scale[..., None] * numpyro.sample("correlation", dist.LKJCholesky(size, 1.0))
        each = dist.Normal(loc, scale).to_event(1)
        each = dist.MultivariateNormal(loc, scale_tril=root) if covariance == "full" else each
        with numpyro.plate("rows", len(data), subsample_size=batch) as some:
            seen = data if batch == len(data) else data[some]
            numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(weights), each), obs=seen)

    values = {name: jnp.asarray(value) for name, value in _start(x, components, covariance, seed).items()}
    start = numpyro_init(values=values)

    def quality(found: Mapping[str, np.ndarray]) -> float:
        return judge(_responsibilities(found, x))

    def contender(how: Climb) -> Contender:
        batch, guide = min(how.batch, len(data)), NumPyroAutoNormal(model, init_loc_fn=start, init_scale=0.01)
        rate = numpyro.optim.Adam(lambda step: how.rate / (1 + step / how.slowing))
        svi = numpyro.infer.SVI(model, guide, rate, numpyro.infer.Trace_ELBO(), batch=batch)
        begin = jax.jit(lambda: svi.init(jax.random.PRNGKey(seed)))
        climb = jax.jit(lambda state, steps: jax.lax.fori_loop(0, steps, lambda _, now: svi.update(now)[0], state))

        def run(steps: int) -> dict[str, np.ndarray]:
            return jax.block_until_ready(guide.median(svi.get_params(climb(begin(), steps))))

        return Contender(run, quality, *(FEW_STEPS if quick else how.steps), warm=lambda: run(1))

    return {f"NumPyro, {name}": contender(how) for name, how in CLIMBS.items()}


def pomegranate_em(x: np.ndarray, components: int, covariance: str, *, judge: Judge, seed: int, quick: bool) -> dict:
    """pomegranate's EM of the mixture, which has no prior."""
    data, kind = torch.tensor(x, dtype=torch.float32), "diag" if covariance == "diagonal" else "full"

    def run(passes: int) -> GeneralMixtureModel:
        each = [PomegranateNormal(covariance_type=kind) for _ in range(components)]
        return GeneralMixtureModel(each, max_iter=passes, tol=0.0, random_state=seed).fit(data)

    def quality(found: GeneralMixtureModel) -> float:
        return judge(found.predict_proba(data).double())

    return {"pomegranate, EM": Contender(run, quality, 4, 10 if quick else 500)}
