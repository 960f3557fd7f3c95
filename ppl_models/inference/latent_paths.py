"""Walks through the latent space: what is decoded on the way from one row to another, and how probable it is."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.evaluation import interpolate
from ppl_models.families import Amortised, Family, LabelledVAE
from ppl_models.inference.decoded import decoded_numbers, draw_rows, require_decoder, told_points
from ppl_models.inference.density import log_density
from ppl_models.inference.latent import Codes, as_codes, codes_of, encode, labels_of, prior_of, typical_rows

PathKind = Literal["linear", "spherical"]
DRAWN_ROWS = 20  # from the decoder at each point of a path


@dataclass(frozen=True)
class LatentPath:
    """A walk from one code to another.

    Attributes:
        codes: columns z1, z2, ..., one row a step.
        rows: the typical row at each step, in the raw columns, kinds and units.
        densities: one row a step, nats: ``prior``, log p(z); ``typical``, the bound on log p(x) of the typical row, raw
            units; ``drawn`` and ``drawn_se``, its mean over rows drawn from p(x | z) at that step, and the standard
            error. ``drawn`` is on the scale of held-out rows; a typical row lacks the noise that rows have, so it is
            more probable than they are, and comparable along the path alone. NaN for an autoencoder, which is no
            density of x.
    """

    codes: pd.DataFrame
    rows: pd.DataFrame
    densities: pd.DataFrame


@torch.no_grad()
def latent_path(
    family: Family,
    ends: Dataset | Codes,
    *,
    steps: int = 9,
    kind: PathKind = "linear",
    seed: int,
    draws: int = 500,
    label: int | None = None,
) -> LatentPath:
    """Walk from one row, or code, to another in even steps, both ends included.

    Args:
        family: a fitted autoencoder or variational autoencoder.
        ends: two rows of its preparation, which are encoded, or two codes (2, latent).
        steps: points on the path, two or more.
        kind: "linear", or "spherical", which keeps to the distance from the origin where a normal prior has its mass.
        seed: the seed of the drawn rows and of the importance draws.
        draws: importance draws of each bound.
        label: the class by number that the decoder is told on the way, where it is told one; None for means over
            classes. Where a row's density is given its class, so must the class be.

    Raises:
        InputError: a family without a decoder or never fitted, rows of another preparation, other than two ends, codes
            of another width, or what ``evaluation.interpolate`` refuses.

    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> table = load("iris")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = fit(VAE(table.schema, latent=2), rows, seed=0, method=Gradient(steps=20)).family
    >>> latent_path(family, rows[:2], steps=5, seed=0, draws=50).densities.shape
    (5, 4)
    """
    prior = prior_of(family, "latent path")
    require_decoder(family, "latent path")
    at_least_one(draws=draws)
    if isinstance(family, LabelledVAE) and family.given and label is None:
        raise InputError(f"latent path: expected a label for a density given {family.given}, got none")
    path = _between(family, ends, steps=steps, kind=kind)
    labels = labels_of(family, path, label)
    values = typical_rows(family, path, labels)
    with seeded(seed):
        told = labels if labels is None else labels.expand(DRAWN_ROWS, -1)
        drawn = draw_rows(family, told_points(family, path.expand(DRAWN_ROWS, -1, -1), told)).flatten(0, 1)
        noise = int(torch.randint(2**31, ()))
    found = _bounds(family, torch.cat([values, drawn]), label, seed=noise, draws=draws).reshape(DRAWN_ROWS + 1, steps)
    densities = pd.DataFrame(
        {
            "prior": prior.log_prob(path.to(family.dtype)).double().cpu().numpy(),
            "typical": found[0],
            "drawn": found[1:].mean(0),
            "drawn_se": found[1:].std(0, ddof=1) / DRAWN_ROWS**0.5,
        }
    )
    return LatentPath(as_codes(path), family.preparation.invert(values), densities)


@torch.no_grad()
def decoded_paths(
    family: Family,
    data: Dataset | None = None,
    *,
    pairs: int,
    steps: int,
    seed: int,
    kind: PathKind = "linear",
    label: int | None = None,
) -> Float[np.ndarray, "pairs steps numbers"]:
    """Means decoded along walks between random pairs of rows, as numbers: what ``evaluation.smoothness`` asks for.

    Args:
        family: a fitted autoencoder or variational autoencoder.
        data: rows of its preparation, whose codes are the ends; None for ends drawn from the prior.
        pairs: how many walks, each between two different rows.
        steps: points on each, both ends included.
        seed: the seed of the pairs.
        kind: of the walks.
        label: as in ``latent_path``.

    Raises:
        InputError: what ``latent_path`` refuses, no pair, or fewer than two rows.
    """
    prior = prior_of(family, "decoded paths")
    require_decoder(family, "decoded paths")
    at_least_one(pairs=pairs)
    if data is not None and len(data) < 2:
        raise InputError(f"decoded paths: expected two rows or more to walk between, got {len(data)}")
    with seeded(seed):
        if data is None:
            ends = prior.sample((2, pairs)).double().cpu().numpy()
        else:
            ends = encode(family, data).to_numpy()[_pairs(len(data), pairs).numpy()]
    return decoded_numbers(family, interpolate(*ends, steps=steps, kind=kind), labels=label)


def _pairs(rows: int, pairs: int) -> Tensor:
    """(2, pairs) random rows, the two of a pair different."""
    first = torch.randint(rows, (pairs,))
    return torch.stack([first, (first + 1 + torch.randint(rows - 1, (pairs,))) % rows])


def _between(family: Family, ends: Dataset | Codes, *, steps: int, kind: PathKind) -> Float[Tensor, "steps latent"]:
    """The codes from one end to the other."""
    z = codes_of(family, encode(family, ends) if isinstance(ends, Dataset) else ends)
    if z.shape[:-1] != (2,):
        raise InputError(f"latent path: expected two ends, got shape {tuple(z.shape)}")
    first, last = z.cpu().numpy()
    return codes_of(family, interpolate(first, last, steps=steps, kind=kind))


def _bounds(
    family: Family, values: Float[Tensor, "rows columns"], label: int | None, *, seed: int, draws: int
) -> Float[np.ndarray, " rows"]:
    """The bound on log p(x) of complete prepared rows, raw units; NaN for what is no density."""
    if not isinstance(family, Amortised):
        return np.full(len(values), np.nan)
    rows = family.preparation(family.preparation.invert(values))
    if family.given:
        rows = replace(rows, labels=torch.full_like(rows.labels, label))
    return log_density(family, rows, seed=seed, draws=draws).values
