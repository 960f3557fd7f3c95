"""``to_arviz``: a fitted family as ArviZ reads it, so that its users go on with what they know.

ArviZ 0.23 gets an ``InferenceData``, 1.x an ``xarray.DataTree``, of the same groups. What holds of them:

- Draws of the guide are independent and make one chain, so that r-hat says nothing: its k-hat does, in the attributes.
- ``az.loo`` takes the draws for the posterior's own. Where the guide is not the posterior, hand over ``log_p`` and
  ``log_q`` of ``sample_stats`` to ``az.loo_approximate_posterior`` (1.x), or draw with ``refine=True``.
- ArviZ's elpd is the sum over rows, ``log_density`` and ``compare`` have nats per row; higher is better in both.
- A family told classes was fitted to rows and labels, and leaves both out: its elpd is no log p(x), and not comparable
  with one that was told none.

Reference: Magnusson, Andersen, Jonasson and Vehtari (2019), Bayesian leave-one-out cross-validation for large data,
https://arxiv.org/abs/1904.10679 (the correction for draws of an approximation).
"""

import json
import math
import warnings
from typing import Any

import numpy as np
import torch
import xarray as xr

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import pareto_k
from ppl_models.evaluation.versions import arviz_is_modular, versions_of
from ppl_models.families import Amortised, ClassProduct, Family
from ppl_models.inference.arviz_groups import Groups, latent_groups, parameter_groups
from ppl_models.inference.fitting import Fit
from ppl_models.inference.refined import guide_draws, refined_draws

MOST_CELLS = 2**26  # of replicated rows: half a gigabyte, and some two on the way
PACKAGES = ("ppl_models", "torch", "pyro-ppl", "numpy", "xarray", "arviz")
RESERVED = ("chain", "draw", "row")


def to_arviz(
    fit: Fit | Family,
    train: Dataset,
    test: Dataset | None = None,
    *,
    draws: int = 1000,
    seed: int,
    refine: bool = False,
) -> Any:
    """What ArviZ reads of a fitted family: its posterior, log likelihoods, and replicated beside observed rows.

    Args:
        fit: what ``fit`` returned, or its family: a naive Bayes or mixture with a posterior of its parameters, or a
            variational autoencoder, whose networks are one value and whose posterior is that of each row's z.
        train: the training rows, whole and each of weight 1.
        test: held-out rows, whose log likelihood is wanted as well; of conjugate families alone.
        draws: how many.
        seed: of the draws; those of the parameters are ``parameter_draws``' own.
        refine: whether draws are the posterior's with the component summed out (``refined.py``), and not the guide's.

    Returns:
        An ``arviz.InferenceData`` or, of ArviZ 1.x, an ``xarray.DataTree`` with the groups

        - posterior: parameters in raw units by the names of ``parameter_draws``; or z of each row;
        - sample_stats: log_p, the log joint of the rows (raw units) and θ, and log_q, the guide's log density of θ, in
          nats by the same measure of θ, prepared units; no log_q for refined draws;
        - log_likelihood: x, log p(x | θ) of each row, components summed out and missing cells integrated out; or
          x_and_label where labels were told;
        - posterior_predictive and observed_data: a variable a column, of its name with "_" for "/"; cells that were not
          observed are in neither;
        - log_likelihood_test and observed_data_test of the held-out rows, whose class is summed out.

        A variational autoencoder has posterior, posterior_predictive and observed_data: given z alone, rows have no
        leave-one-out density that ``az.loo`` could find, and ``log_density`` bounds log p(x) of held-out ones.
        The attributes tell kind (exact where log_p − log_q is constant, guide, refined or latent guide), khat, seed,
        the checksum of the training rows, and versions.

    Raises:
        InputError: a family that holds single points alone, rows of another preparation, shared by processes or of
            other weights, held-out rows for a variational autoencoder, no draw or more than memory should hold, or a
            column whose name ArviZ cannot take.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("wine")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> found = to_arviz(fit(NaiveBayes(table.schema), rows, seed=0), rows, draws=100, seed=0)
    >>> dict(found["log_likelihood"].sizes), found.attrs["kind"]
    ({'chain': 1, 'draw': 100, 'row': 178}, 'exact')
    """
    family = fit.family if isinstance(fit, Fit) else fit
    _require_posterior(family)
    _require_names(family.schema)
    _require_rows(family, train, draws)
    if isinstance(family, ClassProduct):
        groups, facts = _of_parameters(family, train, test, draws=draws, seed=seed, refine=refine)
    else:
        if test is not None or refine:
            raise InputError(
                f"to_arviz: expected neither test rows nor refine for {type(family).__name__}, whose parameters are "
                "one value each; log_density bounds log p(x) of held-out rows"
            )
        groups, facts = latent_groups(family, train, draws=draws, seed=seed), {"kind": "latent guide"}
    versions = versions_of(PACKAGES)
    facts |= {
        "seed": seed,
        "checksum": train.checksum,
        "family": type(family).__name__,
        "inference_library": "ppl_models",
        "inference_library_version": versions["ppl_models"],
        "versions": json.dumps(versions),
    }
    return _gathered({name: _named(group).assign_attrs(facts) for name, group in groups.items()}, facts)


def _of_parameters(
    family: ClassProduct, train: Dataset, test: Dataset | None, *, draws: int, seed: int, refine: bool
) -> tuple[Groups, dict[str, Any]]:
    """The groups of a conjugate family, and how its draws came to be."""
    if test is not None:
        family.require(test)
    if refine:
        theta = refined_draws(family, train, draws, seed=seed)
    else:
        with torch.no_grad(), seeded(seed):
            theta = guide_draws(family, draws)
    groups = parameter_groups(family, train, test, theta, refined=refine, seed=seed)
    if refine:
        return groups, {"kind": "refined", "khat": theta.khat}
    stats = groups["sample_stats"]
    khat = float(pareto_k((stats["log_p"] - stats["log_q"]).to_numpy())[0])
    return groups, {"kind": "exact" if khat == -math.inf else "guide", "khat": khat}


def _require_posterior(family: Family) -> None:
    """Refuse a family of which nothing has a distribution."""
    if isinstance(family, ClassProduct) and not family.bayesian:
        raise InputError(
            f"to_arviz: expected estimate 'bayes', got {family.likelihoods.estimate!r}, one value of each parameter; "
            "bootstrap_draws tells how far that would go on other rows"
        )
    if not isinstance(family, ClassProduct | Amortised):
        raise InputError(
            f"to_arviz: expected a naive Bayes, a mixture or a variational autoencoder, got {type(family).__name__}, "
            "whose parameters and codes are single points; encode and reconstruct tell of it"
        )


def _require_names(schema: Schema) -> None:
    """Refuse columns whose names mean something else to ArviZ, or that a name without "/" would not tell apart."""
    names = [column.name.replace("/", "_") for column in schema.described]
    taken = {*RESERVED, *(f"{name}_row" for name in names)}  # the latter are dimensions of columns with cells missing
    for column, name in zip(schema.described, names, strict=True):
        if name in taken or names.count(name) > 1:
            raise InputError(
                f"to_arviz: column {column.name!r}: expected a name other than {', '.join(RESERVED)} and, with '_' for "
                "'/', other than every other column's, with and without '_row'; rename the column"
            )


def _require_rows(family: Family, train: Dataset, draws: int) -> None:
    """Refuse rows that ArviZ would count otherwise than the fit did, and more than memory should hold."""
    at_least_one(draws=draws)
    family.require(train)
    train.require_whole("to_arviz")
    if not bool((train.weights == 1).all()):
        odd = int((train.weights != 1).nonzero()[0, 0])
        raise InputError(
            f"to_arviz: expected rows of weight 1, since ArviZ counts each once, row {odd + 1} has "
            f"{float(train.weights[odd]):g}"
        )
    width = max(len(family.schema.columns), getattr(family, "latent", 0))
    if draws * len(train) * width > MOST_CELLS:
        raise InputError(
            f"to_arviz: expected at most {MOST_CELLS} replicated cells, got draws={draws} of {len(train)} rows by "
            f"{width}; {max(MOST_CELLS // (len(train) * width), 1)} draws are not too many"
        )


def _named(group: xr.Dataset) -> xr.Dataset:
    """A group whose chains and draws have their numbers, from 0, and no name a "/", which parts groups."""
    numbers = {name: np.arange(group.sizes[name]) for name in ("chain", "draw") if name in group.dims}
    return group.rename({name: name.replace("/", "_") for name in group.variables if "/" in name}).assign_coords(
        numbers
    )


def _gathered(groups: Groups, facts: dict[str, Any]) -> Any:
    """The groups as the installed ArviZ has them."""
    if arviz_is_modular():
        return xr.DataTree.from_dict(
            {"/": xr.Dataset(attrs=facts)} | {f"/{name}": each for name, each in groups.items()}
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz  # noqa: PLC0415  # 2 s to import, and needed by few

        return arviz.InferenceData(attrs=facts, **groups)
