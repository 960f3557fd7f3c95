"""The contractive autoencoder: the autoencoder, with a price on how fast its code moves with the row.

    Ω(x) = λ ‖∂h(x) / ∂x‖²      the squared Frobenius norm of the Jacobian of the code h = encoder(x)

Model and guide are the autoencoder's, sites and shapes those of ``decoding.py``; training adds Ω of each row to its
loss, and no reported number does. x is the row as the encoder sees it: standardised, binary cells less a share. With
one hidden layer or none the norm has a closed form; for deeper networks the Jacobian itself is taken by automatic
differentiation. Limits: those of the autoencoder; λ is in nats, so it means less for wide rows; and no batch norm,
under which a row's code moves with the other rows. Reference: Rifai, Vincent, Muller, Glorot and Bengio (2011),
Contractive auto-encoders, https://icml.cc/2011/papers/455_icmlpaper.pdf.

Use it when codes should hardly move where rows change a little, for a classifier or for neighbours on top; not when a
density or draws are wanted, or when networks are deep and z has many dimensions, each of which costs a pass.

>>> import ppl_models as ppl
>>> from ppl_models.families import ContractiveAutoencoder
>>> from ppl_models.inference import Gradient, encode
>>> from ppl_models.nn import Dense
>>> from ppl_models.reports.latent import code_planes
>>> table = ppl.load("wine")
>>> rows = ppl.prepare(table.frame, table.schema)(table.frame)
>>> codes = {}
>>> for price in (0.0, 10.0):
...     family = ContractiveAutoencoder(table.schema, latent=2, contraction=price, network=Dense((32,)))
...     found = ppl.fit(family, rows, seed=0, method=Gradient(steps=150, learning_rate=1e-2))
...     slope = family.squared_slope(rows).mean().item()
...     print(f"price {price:.0f}: mean squared slope {slope:.1f}")
...     codes[f"price {price:.0f}"] = encode(family, rows).to_numpy()
price 0: mean squared slope 0.3
price 10: mean squared slope 0.0
>>> figure = code_planes(codes, rows.labels.numpy(), names=table.schema.label.categories)

Picture: where the wines' codes are, coloured by a class that training never saw, without the price and with it; the
circle holds 90 % of the prior.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from ppl_models.datasets import Dataset, Schema
from ppl_models.errors import InputError
from ppl_models.families.autoencoder import Autoencoder
from ppl_models.nn import MLP


class ContractiveAutoencoder(Autoencoder):
    """An autoencoder whose code is charged for its slope; it takes the arguments of ``Autoencoder`` besides.

    Args:
        schema: what the columns are.
        contraction: λ, nats for each unit of the squared norm.
        options: the arguments of ``Autoencoder``.

    Raises:
        InputError: a contraction below 0, or a network with batch norm.
    """

    def __init__(self, schema: Schema, *, contraction: float = 0.1, **options: object) -> None:
        if not 0 <= contraction < math.inf:
            raise InputError(f"ContractiveAutoencoder: expected contraction of 0 or more, got {contraction}")
        super().__init__(schema, **options)
        if any(isinstance(module, _BatchNorm) for module in self.guide.modules()):
            raise InputError("ContractiveAutoencoder: expected a network without batch norm, got one with it")
        self.contraction = contraction

    def price(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """Ω of each row, nats."""
        return self.contraction * self.squared_slope(batch)

    def squared_slope(self, batch: Dataset) -> Float[Tensor, " rows"]:
        """‖∂h(x) / ∂x‖² of each row."""
        numbers = self.guide.encoder.inputs(batch, self.dtype)
        network = self.guide.encoder.network
        if isinstance(network, MLP) and len(network.layers) <= 2:
            return _closed_form(network.layers, self.guide.loc.weight, numbers)
        code = nn.Sequential(network, self.guide.loc)
        slopes = vmap(jacrev(lambda row: code(row[None])[0]), randomness="different")(numbers)
        return slopes.square().sum((-2, -1))


def _closed_form(
    layers: nn.Sequential, code: Float[Tensor, "latent width"], numbers: Float[Tensor, "rows numbers"]
) -> Float[Tensor, " rows"]:
    """s'ᵀ (VᵀV ∘ WWᵀ) s' for a code V s(W x + b); ‖V‖² without a hidden layer."""
    if not len(layers):
        return code.square().sum().expand(len(numbers))
    before = layers[0](numbers)
    slope = _derivative(layers[1], before)
    weights = (code.T @ code) * (layers[0].weight @ layers[0].weight.T)
    return ((slope @ weights) * slope).sum(-1)


def _derivative(activation: nn.Module, before: Tensor) -> Tensor:
    """An activation's derivative at each unit, which gradients pass through."""
    if not before.requires_grad:
        before = before.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(activation(before).sum(), before, create_graph=True)[0]
