"""Linear layers whose products are oneDNN's where they are large and in single precision on a processor.

PyTorch gives such products to MKL, which knows the widest instructions of one maker's processors alone: on others with
AVX-512 oneDNN takes half the time (``analyses/benchmarks/vae_step.py``). Weights, names and results are
``torch.nn.Linear``'s, up to rounding.
"""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

WORTH = 2**20  # multiplications that a product must have to be worth the way round
AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Linear(nn.Linear):
    """x Wᵀ + b.

    >>> Linear(2, 3)(torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if not _suits(x, self.weight) or not _plain():
            return super().forward(x)
        return Product.apply(x.flatten(0, -2), self.weight, self.bias).unflatten(0, x.shape[:-1])


class Product(torch.autograd.Function):
    """A Bᵀ + c of matrices, with gradients that have gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, first: Tensor, second: Tensor, offset: Tensor | None) -> Tensor:
        """(n, k), (m, k) and (m,) to (n, m)."""
        of_first, of_second, _ = ctx.needs_input_grad
        ctx.save_for_backward(first if of_second else None, second if of_first else None)
        return torch.ops.mkldnn._linear_pointwise(first, second, offset, "none", [], "")

    @staticmethod
    def backward(ctx: FunctionCtx, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The slopes of each."""
        (first, second), (of_first, of_second, of_offset) = ctx.saved_tensors, ctx.needs_input_grad
        return (
            _product(slope, second) if of_first else None,
            _product(slope.mT, first) if of_second else None,
            slope.sum(0) if of_offset else None,
        )


def _product(first: Tensor, second: Tensor) -> Tensor:
    return Product.apply(first, second.mT, None) if _plain() else first @ second


def _suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN may take the product, and is worth it."""
    return (
        AVAILABLE
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.dim() > 1
        and x.shape[-1] == weight.shape[-1]
        and x.numel() * len(weight) >= WORTH
    )


def _plain() -> bool:
    """Whether neither torch.func nor forward-mode differentiation is at work, which see through PyTorch's own alone."""
    return not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0
