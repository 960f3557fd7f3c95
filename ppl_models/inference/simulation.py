"""``calibration_ranks``: simulation-based calibration of a conjugate family's parameters; of z, ``latent_ranks``.

Parameters are drawn from the prior, rows given these, the family is fitted to the rows, and the parameters' ranks among
draws of its posterior are kept (``evaluation/calibration.py`` says what they tell). Components have no names of their
own: in the truth and in every draw they are put in the order of the first column's location, or of their weights where
it has none, so that what is ranked is a function of the parameters that does not depend on their order.
"""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyro.distributions as dist
import torch
import xarray as xr
from jaxtyping import Float
from joblib import Parallel, cpu_count, delayed
from pyro import poutine
from torch import Tensor

from ppl_models.datasets import Dataset, Preparation, chunks_of
from ppl_models.distributions import assemble, seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import ranks_of
from ppl_models.families import Amortised, ClassProduct, Draws
from ppl_models.inference.fitting import fit
from ppl_models.inference.posterior import as_table, in_raw_units, parameter_draws, simulate
from ppl_models.inference.proposals import base_noise, propose, rows_to_propose_for
from ppl_models.inference.refined import Theta

DRAWS = 199  # so that the ends of 50, 80, 90 and 95 % intervals are at whole ranks
PROPOSED = 10  # proposals for each draw of z
ALIKE = 16  # rows of the same random numbers
AT_ONCE = 16  # simulations of a process between two looks at the file


@torch.no_grad()
def simulate_from_prior(family: ClassProduct, rows: int, *, seed: int) -> tuple[Dataset, xr.Dataset]:
    """Rows of a family whose parameters are drawn from its prior, and these parameters by ``parameter_draws``' names.

    Rows are in prepared units, which are raw units here: nothing is subtracted or divided by.

    Args:
        family: a conjugate family; it takes over the preparation of the rows.
        rows: how many.
        seed: of the draws.

    Raises:
        InputError: a point estimate, or no row.
    """
    at_least_one(rows=rows)
    if not family.bayesian:
        raise InputError(f"simulation: expected estimate 'bayes', got {family.likelihoods.estimate!r}")
    schema, zeros = family.schema, torch.zeros(len(family.schema.columns), dtype=torch.float64)
    plain = Preparation(schema, zeros, zeros + 1)
    family.loc.copy_(plain.loc)
    family.scale.copy_(plain.scale)
    with seeded(seed):
        trace = poutine.trace(family.model.prior_parameters).get_trace()
        weights, thetas = trace.nodes["_RETURN"]["value"]
        member = dist.Categorical(weights).sample((rows,))
        blocks = zip(family.row, thetas, strict=True)
        values = assemble({block.columns: block.likelihood(theta, member).sample() for block, theta in blocks})
    frame = as_table(family, Draws(values, member if family.labelled else None))
    sites = {name: trace.nodes[name]["value"][None] for name in trace.stochastic_nodes if name != "classes"}
    return plain(frame), in_raw_units(family, Theta(sites))


def calibration_ranks(
    make: Callable[[], ClassProduct],
    *,
    rows: int,
    simulations: int,
    seed: int,
    refine: bool = False,
    kept: Path | None = None,
    processes: int | None = None,
) -> pd.DataFrame:
    """The rank of each parameter's truth among draws of its posterior, simulation by simulation.

    Args:
        make: makes the family, afresh for each simulation.
        rows: of each simulated table.
        simulations: how many.
        seed: simulation i follows from it and i alone, in whatever process it runs.
        refine: whether draws are of the posterior with the component summed out (``refined.py``), and not of the guide.
        kept: a file of ranks, CSV after a line of the settings, which is gone on with where it was left; None to keep
            none.
        processes: how many simulations run side by side; None for one a core.

    Returns:
        A line a simulation, a column a parameter: ranks from 0 to 199.

    Raises:
        InputError: a point estimate, no row or simulation, or a file of other settings or parameters.
    """
    at_least_one(rows=rows, simulations=simulations, processes=processes)
    setting = f"# rows {rows}, seed {seed}, refined {refine}\n"
    found = _kept(kept, setting)
    workers = processes or cpu_count()
    with Parallel(n_jobs=workers) as pool:
        while len(found) < simulations:
            next_ones = range(len(found), min(simulations, len(found) + AT_ONCE * workers))
            task = delayed(_one)
            lines = pool(task(make, rows, seed=seed * 1_000_003 + one, refine=refine) for one in next_ones)
            found = _joined(found, pd.DataFrame(lines, index=list(next_ones)), kept, setting)
    return found.iloc[:simulations]


@torch.no_grad()
def latent_ranks(family: Amortised, simulations: int, *, seed: int, resampled: bool = False) -> pd.DataFrame:
    """The rank of each z that a row was decoded from among draws of the row's posterior.

    Args:
        family: a fitted amortised family whose draws tell their latents.
        simulations: how many rows are drawn from it.
        seed: of all draws.
        resampled: whether draws are of proposals fitted to each row, resampled by their weights, and not of the guide.

    Returns:
        A line a simulation, a column a dimension of z: ranks from 0 to 199.

    Raises:
        InputError: no simulation, or a family that was never fitted.
    """
    data, latents = simulate(family, simulations, seed=seed)
    with seeded(seed + 1):
        draws = _resampled(family, data) if resampled else family.posterior(data).sample((DRAWS,))
    found = ranks_of(latents.double().numpy(), draws.double().transpose(0, 1).numpy())
    return pd.DataFrame(found, columns=[f"z[{number}]" for number in range(family.latent)])


def _resampled(family: Amortised, data: Dataset) -> Float[Tensor, "draws rows latent"]:
    """Fitted proposals of each row, resampled by their weights; hidden classes with them.

    Few rows share their random numbers: what these are off by would be in the ranks of all.
    """
    parts = []
    for batch in chunks_of(data, min(ALIKE, rows_to_propose_for(family, PROPOSED * DRAWS))):
        found = propose(family, batch, base_noise(family, PROPOSED * DRAWS))
        points, weights = found.z.flatten(0, 1), found.log_weights.flatten(0, 1).softmax(0)
        chosen = torch.multinomial(weights.T, DRAWS, replacement=True).T
        parts.append(points.take_along_dim(chosen[..., None], 0))
    return torch.cat(parts, 1)


def _one(make: Callable[[], ClassProduct], rows: int, *, seed: int, refine: bool) -> dict[str, int]:
    """One simulation's ranks."""
    family = make()
    data, truth = simulate_from_prior(family, rows, seed=seed)
    fit(family, data, seed=seed)
    draws = parameter_draws(family, DRAWS, seed=seed, refine=data if refine else None)
    names, true = _flat(truth, free=not family.labelled)
    _, drawn = _flat(draws, free=not family.labelled)
    return dict(zip(names, ranks_of(true, drawn[None])[0].tolist(), strict=True))


def _flat(draws: xr.Dataset, *, free: bool) -> tuple[list[str], np.ndarray]:
    """The names of all parameters, and (draws, parameters) their values, components in their canonical order.

    Of a correlation, whose matrix says everything twice, the part below the diagonal; no weight of a single component.
    """
    kept = draws.drop_vars("weights") if draws.sizes["component"] == 1 else draws
    stacked = kept.stack(sample=("chain", "draw")).transpose("sample", ...)
    if free and stacked.sizes["component"] > 1:
        key = stacked["loc"][..., 0] if "loc" in stacked else stacked["weights"]
        order = xr.DataArray(key.values.argsort(1), dims=("sample", "component"))
        stacked = stacked.drop_vars("component").isel(component=order)
    names, parts = [], []
    for name, values in stacked.data_vars.items():
        places = [place for place in np.ndindex(values.shape[1:]) if name != "correlation" or place[1] > place[2]]
        names += [f"{name}{list(place)}" for place in places]
        parts.append(np.stack([values.values[:, *place] for place in places], 1))
    return names, np.concatenate(parts, 1)


def _kept(file: Path | None, setting: str) -> pd.DataFrame:
    """The simulations that a file keeps."""
    if file is None or not file.exists():
        return pd.DataFrame()
    first, _, lines = file.read_text(encoding="utf-8").partition("\n")
    if first != setting.strip():
        raise InputError(f"{file}: expected ranks that begin with {setting.strip()!r}, got {first!r}")
    return pd.read_csv(StringIO(lines), index_col=0)


def _joined(found: pd.DataFrame, new: pd.DataFrame, file: Path | None, setting: str) -> pd.DataFrame:
    """The simulations so far, written to the file as a whole."""
    if len(found) and list(found.columns) != list(new.columns):
        raise InputError(f"{file}: expected ranks of {', '.join(new.columns)}, got {', '.join(found.columns)}")
    joined = pd.concat([found, new])
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        temporary.write_text(setting + joined.to_csv(), encoding="utf-8")
        temporary.replace(file)
    return joined
