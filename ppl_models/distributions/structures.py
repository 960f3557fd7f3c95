"""The fourteen covariance structures of Gaussian mixtures, by mclust's names.

    Sigma_k = volume_k · orientation_k · diag(shape_k) · orientation_kᵀ,    |diag(shape_k)| = 1

Three letters say of volume, shape and orientation, in this order, whether they are Equal in all classes, Variable, or
the Identity: shape I is spherical, orientation I lies along the columns' axes.

| structure | estimate from counts n_k (n in all) and scatters W_k |
|---|---|
| EII, VII | the mean diagonal of Σ W_k / n, of W_k / n_k |
| EEI, VVI | the diagonal of Σ W_k / n, of W_k / n_k |
| EVI | diag(W_k), scaled to the volume Σ |diag(W_k)|^(1/d) / n |
| EEE, VVV | Σ W_k / n, W_k / n_k |
| EEV | the mean of the classes' sorted eigenvalues, along each class's own axes |
| EVV | W_k, scaled to the volume Σ |W_k|^(1/d) / n |
| VEI, VEE, VEV | volume and shape by turns |
| EVE, VVE | damped Newton steps over rotations |

So a structure is an orientation, and along it a rule for the variances, and the code has no more than these two.
References: Banfield and Raftery (1993), https://doi.org/10.2307/2532201; Celeux and Govaert (1995), Gaussian
parsimonious clustering models, https://doi.org/10.1016/0031-3203(94)00125-6; Browne and McNicholas (2014),
https://doi.org/10.1007/s11634-013-0139-1; the names are those of mclust (Scrucca et al. 2016,
https://doi.org/10.32614/RJ-2016-021).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ppl_models.distributions.structured_estimates import (
    Counts,
    Matrices,
    common_axes,
    common_orientation,
    diagonal,
    is_definite,
    log_volume,
    principal_axes,
    proportional,
)
from ppl_models.errors import InputError

Structure = Literal[
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"
]  # fmt: skip
STRUCTURES: tuple[Structure, ...] = get_args(Structure)
Spectra = Float[Tensor, "*batch classes d"]
SYNONYMS: dict[str, Structure] = {
    "full": "VVV",
    "tied": "EEE",
    "diagonal": "VVI",
    "diag": "VVI",
    "spherical": "VII",
    "E": "EEI",
    "V": "VVI",
}


def resolve(name: str) -> Structure:
    """The structure that a name stands for: mclust's, or a synonym (scikit-learn's; E and V for one column).

    Raises:
        InputError: there is none of that name.

    >>> resolve("tied")
    'EEE'
    """
    structure = SYNONYMS.get(name, name)
    if structure not in STRUCTURES:
        expected = ", ".join((*STRUCTURES, *SYNONYMS))
        raise InputError(f"covariance structure: expected one of {expected}; got {name!r}")
    return structure


def count_parameters(structure: Structure, *, classes: int, columns: int) -> int:
    """How many free numbers the covariances have.

    >>> count_parameters("VEE", classes=3, columns=4)
    12
    """
    volume, shape, orientation = structure
    times = {"E": 1, "V": classes, "I": 0}
    return times[volume] + times[shape] * (columns - 1) + times[orientation] * columns * (columns - 1) // 2


@dataclass(frozen=True)
class Decomposition:
    """Covariances in parts; ``classes`` is 1 where the structure has one part for all.

    Attributes:
        volume: (*batch, classes) |Sigma_k|^(1/d), in squared units of the columns.
        shape: (*batch, classes, d) with product one; ones for the letter I.
        orientation: (*batch, classes, d, d) axes in columns, longest first; the identity for the letter I.
    """

    volume: Float[Tensor, "*batch volumes"]
    shape: Float[Tensor, "*batch shapes d"]
    orientation: Float[Tensor, "*batch orientations d d"]


def compose(
    volume: Float[Tensor, "*batch volumes"],
    shape: Float[Tensor, "*batch shapes d"],
    orientation: Float[Tensor, "*batch orientations d d"],
) -> Matrices:
    """Covariances from their parts; there are as many classes as the part with the most has.

    >>> compose(torch.tensor([2.0]), torch.tensor([[4.0, 0.25]]), torch.eye(2)[None]).tolist()
    [[[8.0, 0.0], [0.0, 0.5]]]
    """
    return _along(orientation, volume[..., None] * shape)


def decompose(covariances: Matrices, structure: Structure) -> Decomposition:
    """The parts of covariances that have the structure.

    Args:
        covariances: positive definite, in squared units of the columns.
        structure: which parts to take for equal; of these the first class's are returned.

    >>> decompose(torch.diag(torch.tensor([8.0, 0.5]))[None], "VVI").volume.tolist()
    [2.0]
    """
    volumes, shapes = (covariances.shape[-3] if letter == "V" else 1 for letter in structure[:2])
    axes = _axes(covariances, structure)
    spectra = _spectra(covariances, axes)
    volume = spectra.log().mean(-1).exp()
    shape = torch.ones_like(spectra) if structure[1] == "I" else spectra / volume[..., None]
    return Decomposition(volume[..., :volumes], shape[..., :shapes, :], axes)


def estimate_covariances(
    structure: Structure, counts: Counts, scatters: Matrices, *, previous: Matrices | None = None
) -> Matrices:
    """The covariances inside a structure that maximise Σ_k −½ n_k log|Sigma_k| − ½ tr(Sigma_k⁻¹ W_k).

    Args:
        structure: one of ``STRUCTURES``.
        counts: n_k, whole or not; a prior's degrees of freedom may be in them.
        scatters: W_k, weighted sums of squares about the class's location, in squared units of the columns.
        previous: covariances of the same structure to start from, in the cases without a closed form. The objective
            of the result is never below theirs.

    Returns:
        The covariances. A class that has no maximiser (no count, or a scatter too flat for what is its own in the
        structure) is NaN, and the others are estimated without it; all classes of a batch entry are NaN if what they
        share has none.

    >>> estimate_covariances("EII", torch.tensor([3.0, 1.0]), torch.eye(2).repeat(2, 1, 1))[:, 0, 0].tolist()
    [0.5, 0.5]
    """
    alive = _alive(structure, counts, scatters)
    counts = torch.where(alive, counts, 0.0)
    scatters = torch.where(alive[..., None, None], scatters, 0.0)
    if structure in ("EEE", "EVV", "VVV"):
        found = _whole(structure, counts, scatters)
    elif structure == "VEE":
        found = proportional(counts, scatters, previous)
    else:
        found = _along_axes(structure, counts, scatters, previous)
    sound = alive & is_definite(found)
    return torch.where(sound[..., None, None], found, torch.nan)


def _alive(structure: Structure, counts: Counts, scatters: Matrices) -> Bool[Tensor, "*batch classes"]:
    """Whether what is a class's own in the structure has a maximiser."""
    volume, shape, orientation = structure
    if shape == "V":
        own = scatters if orientation != "I" else diagonal(scatters).diag_embed()
        return (counts > 0) & is_definite(own)
    if volume == "V":
        trace = diagonal(scatters).sum(-1)
        return (counts > 0) & (trace > 0) & (trace < math.inf)
    return torch.ones_like(counts, dtype=torch.bool)


def _whole(structure: Structure, counts: Counts, scatters: Matrices) -> Matrices:
    """The closed forms that need no axes."""
    if structure == "VVV":
        return scatters / counts[..., None, None]
    total = counts.sum(-1)[..., None, None, None]
    if structure == "EVV":
        volumes = log_volume(scatters).exp()[..., None, None]
        return scatters / volumes * volumes.nansum(-3, keepdim=True) / total
    return (scatters.sum(-3, keepdim=True) / total).expand_as(scatters)


def _along_axes(structure: Structure, counts: Counts, scatters: Matrices, previous: Matrices | None) -> Matrices:
    """The structures whose best orientation does not depend on the variances along it."""
    if structure in ("EVE", "VVE"):
        axes = common_orientation(counts, scatters, previous, equal_volumes=structure == "EVE")
    else:
        axes = _axes(scatters, structure)
    spectra = _spectra(scatters, axes)
    if structure[:2] == "VE":
        return _along(axes, diagonal(proportional(counts, spectra.diag_embed(), previous)))
    return _along(axes, _variances(structure, counts, spectra))


def _variances(structure: Structure, counts: Counts, spectra: Spectra) -> Spectra:
    """The closed forms along the axes."""
    total = counts.sum(-1)[..., None, None]
    if structure[1] == "I":
        spectra = spectra.mean(-1, keepdim=True).expand_as(spectra)
    if structure[:2] in ("VV", "VI"):
        return spectra / counts[..., None]
    if structure[:2] == "EV":
        volumes = spectra.log().mean(-1, keepdim=True).exp()
        return spectra / volumes * volumes.sum(-2, keepdim=True) / total
    return (spectra.sum(-2, keepdim=True) / total).expand_as(spectra)


def _axes(matrices: Matrices, structure: Structure) -> Float[Tensor, "*batch orientations d d"]:
    """Each class's principal axes, those that commuting matrices share, or the columns'."""
    if structure[2] == "V":
        return principal_axes(matrices)
    if structure[2] == "E":
        return common_axes(matrices)
    return torch.eye(matrices.shape[-1]).to(matrices).expand_as(matrices[..., :1, :, :])


def _spectra(matrices: Matrices, axes: Float[Tensor, "*batch orientations d d"]) -> Spectra:
    """The diagonals along the axes."""
    return diagonal(axes.mT @ matrices @ axes)


def _along(axes: Float[Tensor, "*batch orientations d d"], variances: Float[Tensor, "*batch shapes d"]) -> Matrices:
    """Symmetric matrices with these variances along these axes."""
    matrices = (axes * variances[..., None, :]) @ axes.mT
    return (matrices + matrices.mT) / 2
