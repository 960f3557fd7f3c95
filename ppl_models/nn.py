"""Floor 1: the only networks."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """A multilayer perceptron that ends on its last hidden layer; with no hidden layer it is the identity.

    Attributes:
        width: the number of outputs.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], activation: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        layers = [(nn.Linear(before, after), activation()) for before, after in pairwise(sizes)]
        self.layers = nn.Sequential(*(part for pair in layers for part in pair))
        self.width = sizes[-1]

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch width"]:
        """(..., inputs) to (..., width)."""
        return self.layers(x)
