"""Large products in single precision are oneDNN's, and nothing but rounding tells: values, slopes, slopes of slopes."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, jacrev, vmap

from ppl_models import linear
from ppl_models.linear import AVAILABLE, WORTH, Linear, Product

ROUNDING = 2e-5  # of the largest: products of a few hundred float32 terms, each rounded to 6e-8, in two orders
pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this PyTorch has no oneDNN")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that oneDNN was given."""
    seen: list[tuple[int, ...]] = []

    class Counted:
        @staticmethod
        def apply(first: Tensor, *others: Tensor | None) -> Tensor:
            seen.append(tuple(first.shape))
            return Product.apply(first, *others)

    monkeypatch.setattr(linear, "Product", Counted)
    return seen


def pair(inputs: int, outputs: int, *, bias: bool = True) -> tuple[Linear, nn.Linear]:
    """A layer and PyTorch's with the same weights."""
    torch.manual_seed(0)
    ours, theirs = Linear(inputs, outputs, bias=bias), nn.Linear(inputs, outputs, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def close(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors differ by no more than rounding."""
    return bool((first - second).abs().max() <= ROUNDING * second.abs().max())


@pytest.mark.parametrize("leading", [(256,), (4, 64), (2, 1, 128)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_large_products_are_those_of_pytorch(leading: tuple[int, ...], bias: bool, calls: list) -> None:
    """Values and all slopes, with any leading dimensions; the other layer is not oneDNN's."""
    ours, theirs = pair(300, 150, bias=bias)
    x = torch.randn(*leading, 300)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    told, known = ours(first), theirs(second)
    assert len(calls) == 1
    assert told.shape == known.shape
    assert close(told, known)
    slope = torch.randn_like(told)
    told.backward(slope)
    known.backward(slope)
    assert close(first.grad, second.grad)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert close(mine.grad, other.grad)


def test_columns_may_lie_apart(calls: list) -> None:
    """A transposed or a sliced input is read as it is."""
    ours, theirs = pair(300, 150)
    for x in (torch.randn(300, 256).T, torch.randn(256, 600)[:, ::2], torch.randn(1, 300).expand(256, 300)):
        assert close(ours(x), theirs(x))
    assert len(calls) == 3


def test_slopes_of_slopes_are_those_of_pytorch(calls: list) -> None:
    """The gradient's length has the same gradient, which the contractive penalty and the checks of guides need."""
    found = []
    for layer in pair(300, 150):
        x = torch.linspace(-1, 1, 256 * 300).reshape(256, 300).requires_grad_()
        (slope,) = torch.autograd.grad(layer(x).tanh().sum(), x, create_graph=True)
        slope.square().sum().backward()
        found.append([x.grad, layer.weight.grad, layer.bias.grad])
    assert all(close(mine, other) for mine, other in zip(*found, strict=True))
    assert len(calls) > 3


def test_slopes_are_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own check, by differences in double precision, of slopes and of slopes of slopes."""

    def product(first: Tensor, second: Tensor, offset: Tensor | None, *_: object) -> Tensor:
        found = first @ second.mT
        return found if offset is None else found + offset

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", product)
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (2, 4), (2,))]
    assert gradcheck(Product.apply, inputs)
    assert gradgradcheck(Product.apply, inputs)


def test_what_is_small_double_or_transformed_stays_with_pytorch(calls: list) -> None:
    """To the bit."""
    ours, theirs = pair(300, 150)
    small = torch.randn(WORTH // (300 * 150), 300)
    assert torch.equal(ours(small), theirs(small))
    x = torch.randn(300)
    assert torch.equal(ours(x), theirs(x))
    large = torch.randn(256, 300)
    assert torch.equal(vmap(ours)(large), vmap(theirs)(large))
    assert torch.equal(vmap(jacrev(ours))(large[:4]), vmap(jacrev(theirs))(large[:4]))
    assert torch.equal(*(grad(lambda x, layer=layer: layer(x).square().sum())(large) for layer in (ours, theirs)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(large), theirs(large))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ours(torch.randn(256, 200))
    ours, theirs, large = ours.double(), theirs.double(), large.double()
    assert torch.equal(ours(large), theirs(large))
    assert not calls


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")  # PyTorch's own, of other hardware
def test_who_turns_onednn_off_has_it_off(calls: list) -> None:
    """By PyTorch's own switch."""
    ours, theirs = pair(300, 150)
    large = torch.randn(256, 300)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(ours(large), theirs(large))
    assert not calls


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # PyTorch's own, at the first
def test_forward_slopes_stay_with_pytorch(calls: list) -> None:
    """To the bit."""
    large = torch.randn(256, 300)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(large, large.cos())
        assert torch.equal(*(forward_ad.unpack_dual(layer(dual)).tangent for layer in pair(300, 150)))
    assert not calls


def test_slopes_of_what_was_multiplied_before_may_be_taken_by_row(calls: list) -> None:
    """By torch.func's vmap over slopes."""
    found = []
    for layer in pair(300, 150):
        x = torch.linspace(-1, 1, 256 * 300).reshape(256, 300).requires_grad_()
        y, slopes = layer(x), torch.linspace(0, 1, 3 * 256 * 150).reshape(3, 256, 150)
        found.append(vmap(lambda slope, y=y, x=x: torch.autograd.grad(y, x, slope, retain_graph=True)[0])(slopes))
    assert close(*found)
    assert len(calls) == 1


def test_a_weight_that_no_slope_needs_may_change_before_the_slopes() -> None:
    """As PyTorch has it: the first layer keeps its input alone."""
    ours, theirs = pair(300, 150)
    for layer in (ours, theirs):
        told = layer(torch.ones(256, 300))
        with torch.no_grad():
            layer.weight.zero_()
        told.square().sum().backward()
    assert close(ours.weight.grad, theirs.weight.grad)


def test_no_rows_and_trained_parts(calls: list) -> None:
    """An empty table passes; a layer that is held gets no slope, and what comes before it does."""
    ours, theirs = pair(300, 150)
    assert ours(torch.zeros(0, 300)).shape == (0, 150)
    assert not calls
    x = torch.randn(256, 300, requires_grad=True)
    ours.requires_grad_(False)
    ours(x).sum().backward()
    assert ours.weight.grad is None
    assert close(x.grad, theirs.weight.sum(0).expand(256, 300))
