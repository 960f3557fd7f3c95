"""A decoder's layers as steps that the page runs: what each does, and where its numbers stand among all numbers.

A layer is known by its exact class, so that one whose ``forward`` is another is refused and not misread.
"""

import base64
import copy
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ppl_models.errors import InputError
from ppl_models.linear import Linear
from ppl_models.nn import ACTIVATIONS, MLP, ImageDecoder, PixelOutput

Step = dict[str, object]
NAMES = {kind: name for name, kind in ACTIVATIONS.items()}


class Numbers:
    """The numbers of a page: one array of float32, to which parts are added.

    >>> import torch
    >>> numbers = Numbers()
    >>> numbers.add(torch.zeros(2, 3)), numbers.add(torch.ones(1)), numbers.count
    (0, 6, 7)
    """

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.count = 0

    def add(self, part: Tensor) -> int:
        """Put numbers at the end, row by row, and tell where they begin.

        Raises:
            InputError: a number is not finite in float32.
        """
        flat = part.detach().cpu().numpy().astype("<f4").ravel()
        if not np.isfinite(flat).all():
            raise InputError(f"explorer: expected finite weights, got {flat[~np.isfinite(flat)][0]}")
        self.parts.append(flat)
        self.count += len(flat)
        return self.count - len(flat)

    def text(self) -> str:
        """All numbers, little end first, in base64."""
        return base64.b64encode(np.concatenate(self.parts).tobytes()).decode()


def steps_of(module: nn.Module, numbers: Numbers) -> list[Step]:
    """What a network does to its input, step by step.

    Args:
        module: a decoder of ``nn.py``, a layer of one, or a linear layer.
        numbers: where its weights go.

    Raises:
        InputError: a layer that the page cannot run.

    >>> steps_of(nn.Sequential(nn.Linear(2, 3), nn.SiLU()), Numbers())
    [{'kind': 'linear', 'inputs': 2, 'outputs': 3, 'weight': 0, 'bias': 6}, {'kind': 'silu'}]
    """
    if type(module) in NAMES:
        return [{"kind": NAMES[type(module)]}]
    if type(module) not in STEPS:
        known = ", ".join(sorted({kind.__name__ for kind in [*STEPS, *NAMES]}))
        raise InputError(f"explorer: expected a decoder of layers {known}, got {type(module).__name__}")
    return STEPS[type(module)](module, numbers)


def _sequential(module: nn.Sequential, numbers: Numbers) -> list[Step]:
    return [step for layer in module for step in steps_of(layer, numbers)]


def _mlp(module: MLP, numbers: Numbers) -> list[Step]:
    return steps_of(module.layers, numbers)


def _linear(module: nn.Linear, numbers: Numbers) -> list[Step]:
    bias = module.weight.new_zeros(module.out_features) if module.bias is None else module.bias
    sizes = {"inputs": module.in_features, "outputs": module.out_features}
    return [{"kind": "linear", **sizes, "weight": numbers.add(module.weight), "bias": numbers.add(bias)}]


def _pixels(module: PixelOutput, numbers: Numbers) -> list[Step]:
    outputs, inputs = module.weight.weight.shape
    at = {"weight": numbers.add(module.weight.weight), "bias": numbers.add(module.bias)}
    return [{"kind": "pixels", "pixels": module.pixels, "inputs": inputs, "outputs": outputs, **at}]


def _image(module: ImageDecoder, numbers: Numbers) -> list[Step]:
    """The dense layers, and transposed convolutions that have the batch norm behind them taken in."""
    steps, size = steps_of(module.dense, numbers), module.start[1:]
    layers = [layer for layer in module.layers if not isinstance(layer, nn.Unflatten)]
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.ConvTranspose2d):
            step = _up(_normed(layer, after), size, numbers)
            steps, size = [*steps, step], step["to"]
        elif not isinstance(layer, nn.BatchNorm2d):
            steps += steps_of(layer, numbers)
    return steps


def _normed(layer: nn.ConvTranspose2d, after: nn.Module | None) -> nn.ConvTranspose2d:
    """The convolution with the standardisation behind it, if any, by the training rows' means and variances."""
    if not isinstance(after, nn.BatchNorm2d):
        return layer
    return fuse_conv_bn_eval(*(copy.deepcopy(part).double().eval() for part in (layer, after)), transpose=True)


def _up(layer: nn.ConvTranspose2d, size: tuple[int, int], numbers: Numbers) -> Step:
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    return {
        "kind": "up",
        "inputs": layer.in_channels,
        "outputs": layer.out_channels,
        "from": size,
        "to": tuple(
            (n - 1) * stride - 2 * padding + kernel + m for n, m in zip(size, layer.output_padding, strict=True)
        ),
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "weight": numbers.add(layer.weight),
        "bias": numbers.add(layer.bias),
    }


STEPS: dict[type[nn.Module], Callable[[nn.Module, Numbers], list[Step]]] = {
    nn.Sequential: _sequential,
    nn.Linear: _linear,
    Linear: _linear,
    MLP: _mlp,
    ImageDecoder: _image,
    PixelOutput: _pixels,
}
