"""Another road to the posterior of θ: Pyro's NUTS on the same model with the component summed out.

It shares the log joint with ``refined.py`` and no draws, so that the two check each other. Its potential is that of
several independent copies of the posterior: one trajectory moves all chains side by side, and they share its length
and step size, which leaves each copy's distribution as it is. The first half of the warm-up runs in coordinates
whitened by the curvature at the mode, the second in those of the first's covariance over all chains.

References:
    Hoffman, Gelman (2014), https://jmlr.org/papers/v15/hoffman14a.html
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), https://doi.org/10.1214/20-BA1221 (r-hat and bulk ESS)
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from pyro.infer import MCMC, NUTS
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import parameter_table
from ppl_models.evaluation.versions import arviz_is_modular
from ppl_models.families import ClassProduct
from ppl_models.inference.full_rank import FullRank
from ppl_models.inference.refined import Posterior, Theta

FEWEST = 4  # draws a chain, and of each quarter of the warm-up: r-hat splits them in halves


def nuts_draws(
    family: ClassProduct, rows: Dataset, draws: int, *, seed: int, warmup: int = 200, chains: int = 16
) -> Theta:
    """Draws of θ from the posterior given the rows, component summed out, by the No-U-Turn Sampler.

    Chains begin at draws of the guide, which have one order of the components; draws that left the order of the mode
    are put back into it. ``mixing`` tells whether they are to be trusted.

    Args:
        family: a conjugate family fitted to the rows.
        rows: the training rows.
        draws: how many that are kept, over all chains.
        seed: the seed of the draws.
        warmup: steps of each chain before, in two halves.
        chains: how many; ``draws`` is a multiple of them.

    Returns:
        The draws, chain after chain; ``accepted`` is the share of steps that moved, all chains at once.

    Raises:
        InputError: numbers that do not suit, too many parameters for a dense covariance, parameters on a grid, a point
            estimate, or rows of another preparation.
    """
    at_least_one(chains=chains)
    if draws % chains or draws < FEWEST * chains or warmup < 4 * FEWEST:
        raise InputError(
            f"nuts draws: expected a multiple of {chains} draws, at least {FEWEST} a chain, and a warmup of at least "
            f"{4 * FEWEST}, got {draws} and {warmup}"
        )
    with seeded(seed):
        posterior = Posterior(family, rows)
        start = posterior.guesses[torch.randint(len(posterior.guesses), (chains,))]
        plane, half = FullRank(posterior.mode, posterior.covariance), warmup // 2
        pilot, _ = _run(posterior, plane, start, warmup=half // 2, kept=half - half // 2)
        plane = plane.towards(pilot.flatten(0, 1))
        found, moved = _run(posterior, plane, pilot[-1], warmup=warmup - half, kept=draws // chains)
    return Theta(posterior.sites(found.transpose(0, 1).flatten(0, 1)), chains, accepted=moved)


def _run(
    posterior: Posterior, plane: FullRank, start: Float[Tensor, "chains size"], *, warmup: int, kept: int
) -> tuple[Float[Tensor, "kept chains size"], float]:
    """The chains' states after a warm-up, and the share of steps that moved, in coordinates whitened by the plane."""
    white = torch.linalg.solve_triangular(plane.root, (start - plane.centre).mT, upper=False).mT

    def colour(white: Tensor) -> Tensor:
        return plane.centre + white @ plane.root.mT

    kernel = NUTS(potential_fn=lambda at: -posterior.log_joint(colour(at["white"])).sum(), adapt_mass_matrix=False)
    chain = MCMC(kernel, kept, warmup_steps=warmup, initial_params={"white": white}, disable_progbar=True)
    chain.run()
    return colour(chain.get_samples()["white"]), float(chain.diagnostics()["acceptance rate"]["chain 0"])


def mixing(draws: xr.Dataset) -> pd.DataFrame:
    """Posterior means and sds, and how far the chains that they are from are to be trusted, number by number.

    Args:
        draws: parameters of ``in_raw_units`` or ``parameter_draws``, with dimensions chain, draw, component, ...

    Returns:
        The lines of ``parameter_table`` with the columns parameter, entry, component, mean, sd, and ArviZ's
        rank-normalised split ``r_hat`` (1 where chains agree), ``ess_bulk`` and ``ess_sd``: the number of independent
        draws that would tell a mean, or an sd, as well. NaN for a number that does not vary.
    """
    table = parameter_table(draws)[["parameter", "entry", "component", "mean", "sd"]]
    chains = [values.transpose("chain", "draw", ...) for values in draws.values()]
    numbers = np.concatenate([values.values.reshape(*values.shape[:2], -1) for values in chains], -1)
    r_hat, ess = _diagnostics()
    varies = (table["sd"] > 1e-12 * table["mean"].abs()).to_numpy()
    for name, rule in (("r_hat", r_hat), ("ess_bulk", ess), ("ess_sd", partial(ess, method="sd"))):
        table.loc[varies, name] = [float(rule(numbers[..., place])) for place in np.flatnonzero(varies)]
    return table


def _diagnostics() -> tuple[Callable[..., float], Callable[..., float]]:
    """ArviZ's r-hat and effective number of draws, each of an array (chains, draws)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        # Both faces of ArviZ: 2 s to import, and needed by few.
        if arviz_is_modular():
            from arviz_stats.base import array_stats  # noqa: PLC0415

            return array_stats.rhat, array_stats.ess
        import arviz  # noqa: PLC0415

        return arviz.rhat, arviz.ess


def lay_beside(reference: xr.Dataset, others: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Other posteriors of the same parameters beside one that is taken for the truth, marginal by marginal.

    Args:
        reference: draws of long chains, as a rule NUTS's.
        others: draws by name, of the same variables.

    Returns:
        The table of ``mixing`` for the reference, and for each other ``NAME shift``, the difference of means in the
        reference's sds, and ``NAME ratio``, its sd over the reference's: below 1 where it is too narrow.
    """
    table = mixing(reference)
    for name, draws in others.items():
        found = parameter_table(draws)
        table[f"{name} shift"] = (found["mean"] - table["mean"]) / table["sd"]
        table[f"{name} ratio"] = found["sd"] / table["sd"]
    return table[table["r_hat"].notna()].reset_index(drop=True)
