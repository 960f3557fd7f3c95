"""Rows into the latent space and back: codes, typical rows, and a grid over the prior.

A code is the centre of a row's q(z | x): its mean where q is a normal, the point itself for an autoencoder, and where
noise of zero goes for a flow. What comes back from a code is a typical row, one that could stand in the table.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import special
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.distributions.amortised import StandardNormal
from ppl_models.errors import InputError
from ppl_models.families import Amortised, Family, LabelledVAE, Latent
from ppl_models.inference.weights import CELLS_IN_MEMORY

Codes = pd.DataFrame | Float[np.ndarray, "*batch latent"]
Labels = Int[np.ndarray, "*batch"] | int
HALVINGS = 60  # of an interval, until it is a rounding wide


@torch.no_grad()
def encode(family: Family, data: Dataset) -> pd.DataFrame:
    """The code of each row.

    Args:
        family: a fitted family with a latent space.
        data: rows of its preparation; missing cells are left out of account.

    Returns:
        Columns z1, z2, ..., float64, one row a row, called as the table called it.

    Raises:
        InputError: a family without a latent space or never fitted, or rows of another preparation.

    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> table = load("iris")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = fit(VAE(table.schema, latent=2), rows, seed=0, method=Gradient(steps=20)).family
    >>> encode(family, rows).shape, decode(family, encode(family, rows)).shape == table.frame.iloc[:, :4].shape
    ((150, 2), True)
    """
    require_latent(family, "codes")
    family.require(data)
    size = max(1, CELLS_IN_MEMORY // family.cells)
    codes = [family.encode(batch).double() for batch in chunks_of(data, size)]
    return as_codes(torch.cat([data.values.new_empty(0, family.latent), *codes])).set_axis(data.names)


@torch.no_grad()
def decode(family: Family, z: Codes, *, labels: Labels | None = None) -> pd.DataFrame:
    """The typical row at each code, in the raw columns, kinds and units.

    Real columns have their mean given z, positive ones their median, counts their mean, rounded, bits and categories
    what is most probable, grey levels their mean, rounded to a level. Means between the values that a cell can take,
    such as the probability of a bit, are in ``decode_images`` and ``decoded_numbers``.

    Args:
        family: a fitted family with a latent space.
        z: codes (rows, latent); a table's rows are called alike in what comes back.
        labels: the rows' classes by number, or one for all, where the decoder is told a class; None for means over
            the classes by their shares.

    Raises:
        InputError: a family without a latent space or never fitted; codes of another width or not finite; or classes
            that do not exist or that the family has no use for.
    """
    codes = codes_of(family, z)
    if codes.ndim != 2:
        raise InputError(f"codes: expected the axes (rows, latent), got shape {tuple(codes.shape)}")
    index = z.index if isinstance(z, pd.DataFrame) else None
    return family.preparation.invert(typical_rows(family, codes, labels_of(family, codes, labels)), index)


def reconstruct(family: Family, data: Dataset) -> pd.DataFrame:
    """The typical row at each row's code, in the raw columns, kinds and units.

    A decoder that is told a class is told the row's own, or the most probable one where that is unknown.

    Args:
        family: a fitted family with a latent space.
        data: rows of its preparation.

    Raises:
        InputError: what ``encode`` refuses.
    """
    return decode(family, encode(family, data), labels=own_labels(family, data))


@torch.no_grad()
def latent_grid(
    family: Family, *, size: int, quantiles: tuple[float, float] = (0.03, 0.97)
) -> Float[np.ndarray, "size size 2"]:
    """A square grid of codes at evenly spaced quantiles of the prior of a two-dimensional latent space.

    ``grid[i, j]`` is the j-th quantile of the first dimension and the i-th of the second, each of its own marginal,
    which a mixture prior and a VampPrior of Gaussians have in closed form.

    Args:
        family: a fitted family with a latent space of two dimensions.
        size: quantiles of each dimension, two or more.
        quantiles: probabilities of the first and the last.

    Raises:
        InputError: a family without a latent space, never fitted or of other than two dimensions; quantiles that are
            not increasing within 0 and 1; or fewer than two.
    """
    prior = prior_of(family, "latent grid")
    if family.latent != 2:
        raise InputError(f"latent grid: expected two latent dimensions, got {family.latent}")
    low, high = quantiles
    if not 0 < low < high < 1 or size < 2:
        raise InputError(f"latent grid: expected 0 < low < high < 1 and size of 2 or more, got {quantiles}, {size}")
    first, second = _marginal_quantiles(prior, np.linspace(low, high, size)).T
    return np.stack(np.meshgrid(first, second), axis=-1)


def require_latent(family: Family, what: str) -> None:
    """Refuse a family whose rows have no place in a latent space, or one that was never fitted.

    Args:
        family: any family.
        what: what the message begins with.

    Raises:
        InputError: the family is another.
    """
    if not isinstance(family, Latent):
        raise InputError(f"{what}: expected a family with a latent space, got {type(family).__name__}")
    _ = family.preparation  # raises where there is none


def prior_of(family: Family, what: str) -> Distribution:
    """p(z), which an autoencoder has too: what it charges a code for being far out.

    Args:
        family: a family with a latent space.
        what: what a message begins with.

    Raises:
        InputError: a family without a latent space, or one that was never fitted.
    """
    require_latent(family, what)
    return family.prior() if isinstance(family, Amortised) else family.model.prior()


def codes_of(family: Family, z: Codes) -> Float[Tensor, "*batch latent"]:
    """Codes as a tensor, checked.

    Args:
        family: a fitted family with a latent space.
        z: codes (..., latent).

    Raises:
        InputError: a family without a latent space or never fitted, or codes of another width or not finite.
    """
    require_latent(family, "codes")
    codes = torch.tensor(np.asarray(z, dtype=np.float64), device=family.loc.device)
    if codes.ndim == 0 or codes.shape[-1] != family.latent:
        raise InputError(f"codes: expected (..., {family.latent}) for z, got shape {tuple(codes.shape)}")
    if not bool(codes.isfinite().all()):
        raise InputError(f"codes: expected finite numbers, got {float(codes[~codes.isfinite()][0])}")
    return codes


def labels_of(
    family: Family, codes: Float[Tensor, "*batch latent"], labels: Labels | None
) -> Int[Tensor, "*batch"] | None:
    """Classes as a tensor, one a code, checked.

    Args:
        family: a fitted family.
        codes: what is to be decoded.
        labels: a class for each by number, one for all, or None.

    Raises:
        InputError: the family's decoder is told no class, or there is no such class.
    """
    if labels is None:
        return None
    if not isinstance(family, LabelledVAE):
        raise InputError(f"labels: expected a decoder that is told a class, got {type(family).__name__}")
    told = torch.tensor(labels, device=codes.device).expand(codes.shape[:-1])
    if bool(((told < 0) | (told >= family.schema.classes)).any()):
        raise InputError(
            f"labels: expected classes from 0 to {family.schema.classes - 1}, got {int(told.min())} to "
            f"{int(told.max())}"
        )
    return told


@torch.no_grad()
def own_labels(family: Family, data: Dataset) -> Int[np.ndarray, " rows"] | None:
    """The classes that a decoder is told of these rows: known, else most probable; None where it is told none.

    Args:
        family: a fitted family.
        data: rows of its preparation.
    """
    if not isinstance(family, LabelledVAE):
        return None
    family.require(data)
    size = max(1, CELLS_IN_MEMORY // family.cells)
    told = torch.cat([family.told(batch) for batch in chunks_of(data, size)])
    return told[:, -family.schema.classes :].argmax(-1).cpu().numpy()


def as_codes(z: Float[Tensor, "rows latent"]) -> pd.DataFrame:
    """Codes as a table with the columns z1, z2, ..."""
    return pd.DataFrame(z.double().cpu().numpy(), columns=[f"z{index + 1}" for index in range(z.shape[-1])])


def typical_rows(
    family: Latent, codes: Float[Tensor, "points latent"], labels: Int[Tensor, " points"] | None = None
) -> Float[Tensor, "points columns"]:
    """The typical row at each code, prepared units."""
    means = in_blocks(family, codes, labels, decoded=lambda *told: family.decode(*told))
    discrete = torch.tensor(family.schema.discrete, device=means.device)
    return torch.where(discrete, means.round(), means)


@torch.no_grad()
def in_blocks(
    family: Latent,
    codes: Float[Tensor, "*batch latent"],
    labels: Int[Tensor, "*batch"] | None = None,
    *,
    decoded: Callable[..., Tensor],
) -> Float[Tensor, "*batch numbers"]:
    """What a function of codes, and of classes if there are any, says of each, in blocks of bounded memory."""
    size = max(1, CELLS_IN_MEMORY // family.cells)
    told = [codes.reshape(-1, codes.shape[-1])] + ([] if labels is None else [labels.reshape(-1)])
    found = torch.cat([decoded(*part) for part in zip(*(each.split(size) for each in told), strict=True)])
    return found.double().reshape(*codes.shape[:-1], found.shape[-1])


def _marginal_quantiles(
    prior: Distribution, probabilities: Float[np.ndarray, " size"]
) -> Float[np.ndarray, "size latent"]:
    """Quantiles of each dimension of a mixture of normals, by halving the interval between its components' own."""
    weights, parts = torch.ones(1), prior
    if isinstance(prior, MixtureSameFamily):
        weights, parts = prior.mixture_distribution.probs, prior.component_distribution
    elif not isinstance(prior, StandardNormal):
        raise InputError(f"latent grid: expected a prior of normals, got {type(prior).__name__}")
    share = weights.double().cpu().numpy()[:, None, None]
    loc, scale = (
        part.double().cpu().numpy().reshape(len(share), 1, -1) for part in (parts.mean, parts.variance.sqrt())
    )
    wanted = probabilities[:, None]
    ends = loc + scale * special.ndtri(wanted)
    low, high = ends.min(0), ends.max(0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = (share * special.ndtr((middle - loc) / scale)).sum(0) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
