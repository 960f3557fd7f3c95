"""Covariance structures: each estimate against free numerical optimisers, published numbers and its own laws."""

import pytest
import torch
from sklearn.datasets import load_iris
from torch import Tensor
from torch.autograd import functional

from ppl_models.distributions.structured_estimates import Descent
from ppl_models.distributions.structures import (
    STRUCTURES,
    compose,
    count_parameters,
    decompose,
    estimate_covariances,
    resolve,
)
from ppl_models.errors import InputError

ITERATED = ("VEI", "VEE", "EVE", "VVE", "VEV")
SIZES = ((2, 1), (3, 2), (5, 4))
NESTED = (
    *(("EII", "VII"), ("EII", "EEI"), ("VII", "VEI"), ("EEI", "VEI"), ("EEI", "EVI"), ("VEI", "VVI"), ("EVI", "VVI")),
    *(("EEI", "EEE"), ("VEI", "VEE"), ("EVI", "EVE"), ("VVI", "VVE"), ("EEE", "VEE"), ("EEE", "EVE"), ("VEE", "VVE")),
    *(("EVE", "VVE"), ("EEE", "EEV"), ("VEE", "VEV"), ("EVE", "EVV"), ("VVE", "VVV"), ("EEV", "EVV"), ("VEV", "VVV")),
)
# mclust's nVarParams (Scrucca et al. 2016) for 3 classes of 2 and of 4 columns
FEW_COLUMNS = (1, 3, 2, 4, 4, 6, 3, 5, 5, 7, 5, 7, 7, 9)
MORE_COLUMNS = (1, 3, 4, 6, 10, 12, 10, 12, 16, 18, 22, 24, 28, 30)


def problem(size: int, classes: int, *, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Unequal counts that are not whole, (batch, classes), and scatters of few rows, (batch, classes, d, d)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(batch, classes, size, 3 * size, generator=generator, dtype=torch.float64)
    rows = rows * (0.7 * torch.randn(batch, classes, size, 1, generator=generator, dtype=torch.float64)).exp()
    return 5 + 40 * torch.rand(batch, classes, generator=generator, dtype=torch.float64), rows @ rows.mT


def objective(counts: Tensor, scatters: Tensor, covariances: Tensor) -> Tensor:
    """Σ_k −½ n_k log|Sigma_k| − ½ tr(Sigma_k⁻¹ W_k), as it is written."""
    traces = torch.linalg.solve(covariances, scatters).diagonal(dim1=-2, dim2=-1).sum(-1)
    return -(counts * torch.logdet(covariances) + traces).sum(-1) / 2


def covariances_at(structure: str, base: Tensor, free: list[Tensor]) -> Tensor:
    """Covariances from log volumes, log shapes and rotations of a base; the first class's where all share them."""
    letters = zip((*free, base), (*structure, structure[2]), strict=True)
    volume, shape, skew, base = (x[..., :1, :, :] if letter == "E" else x for x, letter in letters)
    shape = (shape - shape.mean(-1, keepdim=True)) * (structure[1] != "I")
    turned = base @ torch.matrix_exp(skew - skew.mT) if structure[2] != "I" else torch.eye(base.shape[-1]).to(base)
    return (turned * (volume + shape).exp()) @ turned.mT


def beginnings(structure: str, counts: Tensor, scatters: Tensor, found: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Four random starts, the last of which is near what was found: orientations, and free parameters."""
    torch.manual_seed(0)
    shape, parts = (4, *scatters.shape), decompose(found, structure)
    base = torch.linalg.qr(torch.randn(shape, dtype=torch.float64)).Q
    free = [torch.randn(*shape[:-2], *last, dtype=torch.float64) for last in ((1, 1), (1, shape[-1]), shape[-2:])]
    base[-1] = parts.orientation
    free[0] += (scatters.diagonal(dim1=-2, dim2=-1).mean(-1) / counts).log()[..., None, None]
    for x, centre in zip(free, (parts.volume[..., None, None].log(), parts.shape[..., None, :].log(), 0), strict=True):
        x[-1] = centre + 0.05 * torch.randn_like(x[-1])
    return base, [x.requires_grad_() for x in free]


def best_of_free_optimisers(structure: str, counts: Tensor, scatters: Tensor, found: Tensor) -> Tensor:
    """The highest objective of L-BFGS over a free parametrisation, from random starts and from near what was found."""
    base, free = beginnings(structure, counts, scatters, found)
    rule = {"max_iter": 120, "history_size": 30, "tolerance_grad": 1e-3, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS(free, **rule)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -objective(counts, scatters, covariances_at(structure, base, free)).sum()
        value.backward()
        return value

    optimiser.step(loss)
    return objective(counts, scatters, covariances_at(structure, base, free)).detach().amax(0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_free_optimiser_does_better_and_the_best_of_them_comes_near(structure, size):
    counts, scatters = problem(*size)
    found = estimate_covariances(structure, counts, scatters)
    best = best_of_free_optimisers(structure, counts, scatters, found)
    ahead = (best - objective(counts, scatters, found)) / counts.sum(-1)
    assert ((ahead > -0.01) & (ahead < 1e-9)).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_parts_of_an_estimate_give_it_back(structure):
    covariances = estimate_covariances(structure, *problem(5, 4))
    parts = decompose(covariances, structure)
    again = compose(parts.volume, parts.shape, parts.orientation)
    assert torch.allclose(again.expand_as(covariances), covariances, rtol=1e-10, atol=1e-10)


def test_common_axes_are_found_although_they_tie_in_the_mean():
    turn = torch.linalg.qr(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()).Q
    covariances = turn @ torch.tensor([[1.0, 2.0], [2.0, 1.0]]).double().diag_embed() @ turn.mT
    parts = decompose(covariances, "VVE")
    assert torch.allclose(compose(parts.volume, parts.shape, parts.orientation), covariances)


@pytest.mark.parametrize("equal_volumes", [True, False])
def test_an_undamped_step_is_newtons_by_automatic_differentiation(equal_volumes):
    counts, scatters = problem(4, 3, batch=1)
    scatters = scatters + 20 * torch.eye(4) * scatters
    descent = Descent(counts, scatters, equal_volumes)

    def loss(angles: Tensor) -> Tensor:
        skew = angles.new_zeros(4, 4).index_put(tuple(torch.triu_indices(4, 4, 1)), angles)
        return descent.loss(descent.rotate(torch.matrix_exp(skew - skew.T)[None]))[0]

    at = torch.zeros(6).double()
    newton = -torch.linalg.solve(functional.hessian(loss, at), functional.jacobian(loss, at))
    step = descent.step(scatters, torch.zeros(1).double())
    assert step.is_newton.all()
    assert torch.allclose(step.angles[0], newton, rtol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_parts_are_shared_where_the_letter_says_so(structure):
    parts = decompose(estimate_covariances(structure, *problem(3, 4)), structure)
    sizes = parts.volume.shape[1], parts.shape.shape[1], parts.orientation.shape[1]
    assert sizes == tuple(4 if letter == "V" else 1 for letter in structure)
    assert torch.allclose(parts.shape.log().sum(-1), torch.zeros(()).double(), atol=1e-10)
    assert structure[1] != "I" or (parts.shape == 1).all()
    assert structure[2] != "I" or torch.equal(parts.orientation[0, 0], torch.eye(3).double())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_batch_is_estimated_as_one_by_one(structure):
    counts, scatters = problem(4, 3, batch=6)
    together = estimate_covariances(structure, counts.reshape(2, 3, 3), scatters.reshape(2, 3, 3, 4, 4))
    alone = [estimate_covariances(structure, n, w) for n, w in zip(counts, scatters, strict=True)]
    assert torch.allclose(together.flatten(0, 1), torch.stack(alone), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_objective_never_falls_below_the_previous(structure):
    previous = estimate_covariances(structure, *problem(5, 3, batch=20, seed=1))
    counts, scatters = problem(5, 3, batch=20, seed=2)
    found = estimate_covariances(structure, counts, scatters, previous=previous)
    assert (objective(counts, scatters, found) >= objective(counts, scatters, previous)).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_estimate_is_where_it_stays(structure):
    counts, scatters = problem(5, 3)
    found = estimate_covariances(structure, counts, scatters)
    again = estimate_covariances(structure, counts, scatters, previous=found)
    assert (objective(counts, scatters, again) - objective(counts, scatters, found)).abs().max() < 1e-9
    assert torch.allclose(again, found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("structure", ITERATED)
def test_a_previous_that_is_not_finite_is_ignored(structure):
    counts, scatters = problem(3, 2)
    cold = objective(counts, scatters, estimate_covariances(structure, counts, scatters))
    found = estimate_covariances(structure, counts, scatters, previous=torch.full_like(scatters, torch.nan))
    assert torch.allclose(objective(counts, scatters, found), cold, rtol=1e-9)


@pytest.mark.parametrize(("inner", "outer"), NESTED)
def test_a_wider_structure_fits_no_worse(inner, outer):
    counts, scatters = problem(4, 3, batch=20)
    narrow, wide = (objective(counts, scatters, estimate_covariances(s, counts, scatters)) for s in (inner, outer))
    assert (wide >= narrow - 1e-9).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_one_column_has_an_equal_or_a_variable_variance(structure):
    counts, scatters = problem(1, 3)
    equal = (scatters.sum(1) / counts.sum(1)[:, None, None])[:, None].expand_as(scatters)
    expected = equal if structure[0] == "E" else scatters / counts[..., None, None]
    assert torch.allclose(estimate_covariances(structure, counts, scatters), expected)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_one_class_has_a_spherical_a_diagonal_or_any_covariance(structure):
    counts, scatters = problem(3, 1)
    free = scatters / counts[..., None, None]
    diagonal = free.diagonal(dim1=-2, dim2=-1)
    variances = diagonal if structure[1] != "I" else diagonal.mean(-1, keepdim=True).expand_as(diagonal)
    expected = free if structure[2] != "I" else variances.diag_embed()
    assert torch.allclose(estimate_covariances(structure, counts, scatters), expected)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_covariances_take_the_unit_of_the_columns(structure):
    counts, scatters = problem(3, 3)
    found = estimate_covariances(structure, counts, scatters)
    assert torch.allclose(estimate_covariances(structure, counts, 1e6 * scatters), 1e6 * found, rtol=1e-6)


@pytest.mark.parametrize("spoilt", [0.0, torch.nan, torch.inf])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_class_without_a_scatter_spoils_only_its_own_entry(structure, spoilt):
    counts, scatters = problem(3, 3)
    sound = estimate_covariances(structure, counts, scatters)
    counts[1, 2], scatters[1, 2] = 0, spoilt
    found = estimate_covariances(structure, counts, scatters)
    assert torch.allclose(found[0], sound[0], rtol=1e-6)
    assert structure[0] == "E" or (found[1].isnan().any((-2, -1)) == torch.tensor([False, False, True])).all()


@pytest.mark.parametrize("structure", ["EVE", "VVE", "EVV", "VVV"])
def test_a_flat_scatter_makes_its_own_class_nan_where_shapes_vary(structure):
    counts, scatters = problem(3, 3)
    scatters[1, 2] = torch.ones(3, 3)
    found = estimate_covariances(structure, counts, scatters)
    assert found.isnan().all((-2, -1)).tolist() == [[False, False, False], [False, False, True]]


@pytest.mark.parametrize("structure", ["VEI", "VEE", "VEV"])
def test_a_flat_scatter_with_most_of_the_count_leaves_no_maximum(structure):
    counts, scatters = problem(3, 3)
    counts[1, 2], scatters[1, 2] = 1000, torch.diag(torch.tensor([1.0, 0.0, 0.0]))
    found = estimate_covariances(structure, counts, scatters)
    assert found.isnan().all((-2, -1)).tolist() == [[False, False, False], [True, True, True]]


def test_common_axes_of_the_irises_are_those_of_flury():
    """Flury (1984), Common principal components in k groups, JASA 79: axes, and variances times 100."""
    x, species = (torch.as_tensor(part) for part in load_iris(return_X_y=True))
    scatters = torch.stack([49 * x[species == label].T.cov() for label in range(3)])
    parts = decompose(estimate_covariances("VVE", torch.full((3,), 49.0).double(), scatters), "VVE")
    order = parts.orientation[0, 0].abs().argsort(descending=True)
    axes = [[0.7367, 0.6471, 0.1640, 0.1084], [0.2468, 0.4655, 0.8346, 0.1607]]
    assert torch.allclose(parts.orientation[0, :2, order].abs(), torch.tensor(axes).double(), atol=1e-4)
    versicolor = (parts.volume[..., None] * parts.shape)[1, order]
    assert torch.allclose(100 * versicolor, torch.tensor([48.46, 7.47, 5.54, 1.01]).double(), atol=5e-3)


@pytest.mark.parametrize(("columns", "published"), [(2, FEW_COLUMNS), (4, MORE_COLUMNS)])
def test_parameters_are_counted_as_by_mclust(columns, published):
    assert tuple(count_parameters(name, classes=3, columns=columns) for name in STRUCTURES) == published


def test_synonyms_are_resolved():
    names = ("full", "tied", "diagonal", "diag", "spherical", "E", "V", "EVE")
    assert [resolve(name) for name in names] == ["VVV", "EEE", "VVI", "VVI", "VII", "EEI", "VVI", "EVE"]


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(InputError, match=r"expected one of EII, VII, .*, VVV, full, tied, .*; got 'round'"):
        resolve("round")
