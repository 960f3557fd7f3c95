"""Floor 1: the only networks, dense and convolutional, described by a few numbers and built to fit the columns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.linear import Linear

Activation = Literal["silu", "relu", "tanh", "softplus"]
Downsampling = Literal["stride", "pool"]
ImageShape = tuple[int, int]
Output = Callable[[int], nn.Module]
ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """What an encoder and the decoder that mirrors it look like.

    Attributes:
        activation: of every hidden layer.
        hide: in training, the share of a row's cells that the encoder does not get to see, drawn afresh each time; it
            sees zeros, as for a missing cell, and the others larger by as much (Srivastava and others 2014, Dropout,
            https://jmlr.org/papers/v15/srivastava14a.html). What is hidden from the guide is not hidden from the
            likelihood, so the ELBO stays a bound.
    """

    activation: Activation = "silu"
    hide: float = 0.0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")
        if not 0 <= self.hide < 1:
            raise InputError(f"hide: expected a share from 0 to below 1, got {self.hide}")

    @abstractmethod
    def encoder(self, numbers: int, conditions: int, image_shape: ImageShape | None) -> "Layers":
        """From a row's numbers, and the conditions that stand behind them, to the last hidden layer."""

    @abstractmethod
    def decoder(self, latent: int, image_shape: ImageShape | None) -> "Layers":
        """From z, and the conditions that stand behind it, to the layer that the likelihoods' parameters start at."""

    def _require_widths(self, **widths: Sequence[int]) -> None:
        wrong = next((name for name, sizes in widths.items() if any(size < 1 for size in sizes)), None)
        if wrong is not None:
            raise InputError(f"{type(self).__name__}: expected {wrong} of 1 or more, got {tuple(widths[wrong])}")


@dataclass(frozen=True)
class Dense(Network):
    """Multilayer perceptrons.

    Attributes:
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse. Empty for linear ones.
    """

    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", tuple(self.hidden))
        self._require_widths(hidden=self.hidden)

    def encoder(self, numbers: int, conditions: int, image_shape: ImageShape | None) -> "MLP":
        """(..., numbers + conditions) to (..., the last width)."""
        return MLP(numbers + conditions, self.hidden, ACTIVATIONS[self.activation])

    def decoder(self, latent: int, image_shape: ImageShape | None) -> "MLP":
        """(..., latent) to (..., the first width)."""
        return MLP(latent, self.hidden[::-1], ACTIVATIONS[self.activation])


@dataclass(frozen=True)
class Convolutional(Network):
    """Convolutions over the pixels of an image, then dense layers; the decoder mirrors them by transposed convolutions.

    Each convolution halves height and width, rounded up, either by its stride or by max pooling after it
    (Springenberg, Dosovitskiy, Brox and Riedmiller 2015, https://arxiv.org/abs/1412.6806, on the two).

    Attributes:
        channels: of each convolution, from the image on.
        hidden: widths of the dense layers between the convolutions and z.
        downsampling: what halves the image in the encoder; the decoder always takes strides.
        batch_norm: whether each convolution's outputs are standardised over the batch (Ioffe and Szegedy 2015,
            https://arxiv.org/abs/1502.03167).
    """

    channels: tuple[int, ...] = (16, 32)
    hidden: tuple[int, ...] = (128,)
    downsampling: Downsampling = "stride"
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channels", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._require_widths(channels=self.channels, hidden=self.hidden)
        if not self.channels or self.downsampling not in get_args(Downsampling):
            raise InputError(
                f"Convolutional: expected one or more channels and downsampling 'stride' or 'pool', "
                f"got {self.channels} and {self.downsampling!r}"
            )

    def encoder(self, numbers: int, conditions: int, image_shape: ImageShape | None) -> "ImageEncoder":
        """(..., pixels + conditions) to (..., the last width)."""
        return ImageEncoder(self, conditions, self._shapes(image_shape))

    def decoder(self, latent: int, image_shape: ImageShape | None) -> "ImageDecoder":
        """(..., latent) to (..., channels · pixels)."""
        return ImageDecoder(self, latent, self._shapes(image_shape))

    def _shapes(self, image_shape: ImageShape | None) -> list[ImageShape]:
        """The image's shape, and what each halving leaves of it."""
        if image_shape is None:
            raise InputError("Convolutional: expected a schema with an image_shape, got a table without one; use Dense")
        shapes = [tuple(image_shape)]
        for _ in self.channels:
            shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
        return shapes

    def _layers(self, convolution: nn.Module, *after: nn.Module) -> list[nn.Module]:
        """A convolution with what follows it."""
        norm = [nn.BatchNorm2d(convolution.out_channels)] if self.batch_norm else []
        return [convolution, *norm, ACTIVATIONS[self.activation](), *after]


class Layers(nn.Module, ABC):
    """A network that ends on its last hidden layer.

    Attributes:
        width: the number of outputs of a row.
    """

    width: int

    def output(self, numbers: int) -> nn.Module:
        """A linear layer from the last hidden one to so many numbers, some for each pixel in the case of an image."""
        return Linear(self.width, numbers)


class MLP(Layers):
    """A multilayer perceptron; with no hidden layer it is the identity."""

    def __init__(self, inputs: int, hidden: Sequence[int], activation: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        layers = [(Linear(before, after), activation()) for before, after in pairwise(sizes)]
        self.layers = nn.Sequential(*(part for pair in layers for part in pair))
        self.width = sizes[-1]

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch width"]:
        """(..., inputs) to (..., width)."""
        return self.layers(x)


class ImageEncoder(Layers):
    """Convolutions and dense layers over an image; conditions enter beside the flattened features."""

    def __init__(self, network: Convolutional, conditions: int, shapes: Sequence[ImageShape]) -> None:
        super().__init__()
        self.image_shape = shapes[0]
        self.pixels = shapes[0][0] * shapes[0][1]
        stride, pool = (2, []) if network.downsampling == "stride" else (1, [nn.MaxPool2d(2, ceil_mode=True)])
        layers: list[nn.Module] = []
        for before, after in pairwise((1, *network.channels)):
            layers += network._layers(nn.Conv2d(before, after, 3, stride=stride, padding=1), *pool)
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        features = network.channels[-1] * shapes[-1][0] * shapes[-1][1]
        self.dense = MLP(features + conditions, network.hidden, ACTIVATIONS[network.activation])
        self.width = self.dense.width

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch width"]:
        """(..., pixels + conditions) to (..., width)."""
        image, conditions = x[..., : self.pixels], x[..., self.pixels :]
        features = self.convolutions(image.reshape(-1, 1, *self.image_shape)).unflatten(0, x.shape[:-1])
        return self.dense(torch.cat([features, conditions], -1))


class ImageDecoder(Layers):
    """Dense layers and transposed convolutions back to the image's size, with some features for each pixel."""

    def __init__(self, network: Convolutional, latent: int, shapes: Sequence[ImageShape]) -> None:
        super().__init__()
        channels = (*network.channels[::-1], network.channels[0])
        self.dense = MLP(latent, network.hidden[::-1], ACTIVATIONS[network.activation])
        self.start = (channels[0], *shapes[-1])
        features = channels[0] * shapes[-1][0] * shapes[-1][1]
        layers: list[nn.Module] = [Linear(self.dense.width, features), ACTIVATIONS[network.activation]()]
        layers.append(nn.Unflatten(-1, self.start))
        for (before, after), (height, width) in zip(pairwise(channels), shapes[-2::-1], strict=True):
            odd = (1 - height % 2, 1 - width % 2)  # twice the size before it is this size, or one more
            up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=odd)
            layers += network._layers(up)
        self.layers = nn.Sequential(*layers)
        self.features, self.pixels = channels[-1], shapes[0][0] * shapes[0][1]
        self.width = self.features * self.pixels

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch width"]:
        """(..., latent) to (..., features · pixels)."""
        hidden = self.dense(z)
        return self.layers(hidden.reshape(-1, hidden.shape[-1])).reshape(*z.shape[:-1], self.width)

    def output(self, numbers: int) -> nn.Module:
        """The same linear layer for every pixel, with a bias of its own for each."""
        return PixelOutput(self.features, self.pixels, numbers // self.pixels)


class PixelOutput(nn.Module):
    """From the features of each pixel to some numbers for it, pixel by pixel."""

    def __init__(self, features: int, pixels: int, numbers: int) -> None:
        super().__init__()
        self.pixels = pixels
        self.weight = Linear(features, numbers, bias=False)
        self.bias = nn.Parameter(torch.zeros(pixels, numbers))

    def reset_parameters(self) -> None:
        """Set the biases to 0 again; the weights reset themselves."""
        nn.init.zeros_(self.bias)

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch numbers"]:
        """(..., features · pixels) to (..., pixels · numbers), the numbers of a pixel side by side."""
        features = hidden.reshape(hidden.shape[:-1].numel(), self.weight.in_features, self.pixels)
        numbers = torch.bmm(self.weight.weight.expand(len(features), -1, -1), features).transpose(-1, -2)
        return (numbers + self.bias).reshape(*hidden.shape[:-1], self.bias.numel())
