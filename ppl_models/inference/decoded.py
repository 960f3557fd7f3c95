"""What is decoded as numbers and pictures: means between the values a cell can take, and rows on the same footing.

**Numbers** are what distances and classifiers can use. Real and positive columns are standardised, a count is in units
of its training mean, a bit is 0 or 1 or its probability, and a category one column for each, 0 or 1 or its
probability. In an image a category is a grey level from 0 to 1. **Pictures** are (height, width), in raw units.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import seeded
from ppl_models.distributions.grey_levels import GreyLevels
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Family, LabelledVAE
from ppl_models.families.decoding import Decoding
from ppl_models.families.labelled_vae import beside
from ppl_models.inference.latent import Codes, Labels, codes_of, in_blocks, labels_of


def decode_images(
    family: Family, z: Codes, *, labels: Labels | None = None
) -> Float[np.ndarray, "*batch height width"]:
    """The picture at each code: the means of the pixels given z.

    A bit has its probability, a grey level its mean over the highest level, each from 0 to 1. Other kinds have their
    mean in raw units (a positive one its median), which is from 0 to 1 where the pixels are and the likelihood keeps
    to that.

    Args:
        family: a fitted autoencoder or variational autoencoder of images.
        z: codes (..., latent).
        labels: as ``decode`` takes them, (...).

    Raises:
        InputError: a family without a decoder, never fitted or not of images, or codes of another width.

    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> table = load("digits_binary")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = fit(VAE(table.schema, latent=2), rows, seed=0, method=Gradient(steps=20)).family
    >>> decode_images(family, np.zeros((3, 2))).shape
    (3, 8, 8)
    """
    return _pictures(family.schema, decoded_numbers(family, z, labels=labels), family.loc, family.scale)


def images_of(data: Dataset) -> Float[np.ndarray, "rows height width"]:
    """Rows as pictures, on the footing of ``decode_images``; NaN where a pixel is missing.

    Args:
        data: prepared rows of images.

    Raises:
        InputError: the columns are no image.
    """
    return _pictures(data.schema, as_numbers(data), data.loc, data.scale)


def decoded_numbers(family: Family, z: Codes, *, labels: Labels | None = None) -> Float[np.ndarray, "*batch numbers"]:
    """The means given z at each code, as numbers; of a sequence's steps given z and the typical tokens before them.

    Args:
        family: a fitted autoencoder or variational autoencoder.
        z: codes (..., latent).
        labels: as ``decode`` takes them, (...).

    Raises:
        InputError: a family without a decoder or never fitted, or codes of another width or not finite.
    """
    codes = codes_of(family, z)
    require_decoder(family, "decoded numbers")
    told = codes.to(family.dtype), labels_of(family, codes, labels)
    return in_blocks(family, *told, decoded=lambda *part: _means(family, *part)).cpu().numpy()


def as_numbers(data: Dataset) -> Float[np.ndarray, "rows numbers"]:
    """Rows as numbers, the columns being those of ``decoded_numbers``; NaN where a cell is missing.

    Args:
        data: prepared rows.

    >>> from ppl_models import load, prepare
    >>> table = load("wrodl")
    >>> as_numbers(prepare(table.frame, table.schema)(table.frame)).shape[0] == len(table.frame)
    True
    """
    values = data.values.where(data.observed, torch.nan)
    parts = [_indicators(data.schema, index, values[:, index]) for index in range(values.shape[1])]
    return (torch.cat(parts, -1) / _units(data.schema, data.scale)).cpu().numpy()


@torch.no_grad()
def drawn_numbers(family: Family, rows: int, *, seed: int) -> Float[np.ndarray, "rows numbers"]:
    """New rows from a fitted family, as numbers: beside ``as_numbers`` of held-out rows they ask for realism.

    Args:
        family: a fitted family.
        rows: how many.
        seed: the seed of the draws.

    Raises:
        InputError: a family that was never fitted, or no row.
    """
    at_least_one(rows=rows)
    preparation = family.preparation
    with seeded(seed):
        values = family.draw(rows).values
    parts = [_indicators(family.schema, index, values[:, index]) for index in range(values.shape[1])]
    return (torch.cat(parts, -1) / _units(family.schema, preparation.scale)).cpu().numpy()


def require_decoder(family: Family, what: str) -> None:
    """Refuse a family that decodes no row from a point.

    Args:
        family: any family.
        what: what the message begins with.

    Raises:
        InputError: the family is another.
    """
    if not isinstance(family, Decoding):
        raise InputError(f"{what}: expected a family with a decoder, got {type(family).__name__}")


def draw_rows(family: Decoding, points: Float[Tensor, "*batch told"]) -> Float[Tensor, "*batch columns"]:
    """A row drawn given what the decoder is told at each point, prepared units, under torch's current random state."""
    return in_blocks(family, points.to(family.dtype), decoded=family.model.sample_cells)


def fill_rows(
    family: Decoding, points: Float[Tensor, "draws rows told"], batch: Dataset
) -> Float[Tensor, "draws rows columns"]:
    """The same for the missing cells of some rows, given the observed ones where the decoder asks them."""
    rows = torch.arange(len(batch), device=points.device).expand(points.shape[:-1])
    fill = family.model.fill
    return in_blocks(family, points.to(family.dtype), rows, decoded=lambda *part: fill(part[0], batch, part[1]))


def told_points(
    family: Decoding, codes: Float[Tensor, "*batch latent"], labels: Int[Tensor, "*batch"] | None
) -> Float[Tensor, "*batch told"]:
    """What the decoder is told at each code: a class behind it, drawn by its share where none is given."""
    if not isinstance(family, LabelledVAE):
        return codes
    if labels is None:
        labels = Categorical(logits=family.log_shares).sample(codes.shape[:-1])
    return beside(codes, labels, family.schema.classes)


def _means(
    family: Decoding, codes: Float[Tensor, "points latent"], labels: Int[Tensor, " points"] | None = None
) -> Float[Tensor, "points numbers"]:
    """Means of the columns one after the other, a category's probabilities side by side."""
    found: dict[int, Tensor] = {}
    over_classes = isinstance(family, LabelledVAE) and labels is None
    if over_classes:
        classes = torch.arange(family.schema.classes, device=codes.device)
        points = beside(codes[:, None], classes.expand(len(codes), -1), family.schema.classes)
    else:
        points = told_points(family, codes, labels)
    for head, cells in family.model.likelihoods(points):
        found |= dict(zip(head.columns, _shares(family.schema, head, cells), strict=True))
    ordered = torch.cat([found[index] for index in range(len(found))], -1).double()
    if over_classes:
        ordered = torch.einsum("pcn,c->pn", ordered, family.log_shares.exp().double())
    return ordered / _units(family.schema, family.scale)


def _shares(schema: Schema, head: nn.Module, cells: Distribution) -> list[Tensor]:
    """The mean of each of a head's columns, (..., 1), or the probabilities of its categories, (..., categories)."""
    if isinstance(cells, Categorical) and schema.image_shape is None:
        return list(cells.probs.unbind(-2))
    if isinstance(cells, Categorical):
        levels = torch.arange(cells.probs.shape[-1]).to(cells.probs)
        return list((cells.probs @ levels / levels[-1])[..., None].unbind(-2))
    if schema.image_shape is None and isinstance(cells, GreyLevels):
        above = torch.stack([cells.at_least(code) for code in range(1, cells.levels)], -1)
        above = torch.cat([torch.ones_like(above[..., :1]), above, torch.zeros_like(above[..., :1])], -1)
        return list((above[..., :-1] - above[..., 1:]).unbind(-2))
    highest = [max(schema.columns[index].cardinality - 1, 1) for index in head.columns]
    return list((cells.mean / cells.mean.new_tensor(highest))[..., None].unbind(-2))


def _indicators(schema: Schema, index: int, values: Float[Tensor, " rows"]) -> Float[Tensor, "rows numbers"]:
    """A column's cells as numbers, before they are divided by its unit."""
    column = schema.columns[index]
    if column.kind != "categorical" or schema.image_shape is not None:
        return values[:, None] / max(column.cardinality - 1, 1)
    known = nn.functional.one_hot(values.nan_to_num().long(), column.cardinality).to(values)
    return known.where(~values.isnan()[:, None], torch.nan)


def _units(schema: Schema, scale: Float[Tensor, " columns"]) -> Float[Tensor, " numbers"]:
    """What each number is divided by: the training mean of a count, 1 for others."""
    grey = schema.image_shape is not None
    numbers = [1 if column.kind != "categorical" or grey else column.cardinality for column in schema.columns]
    counts = torch.tensor([column.kind == "count" for column in schema.columns], device=scale.device)
    return torch.where(counts, scale, 1.0).repeat_interleave(torch.tensor(numbers, device=scale.device))


def _pictures(
    schema: Schema, numbers: Float[np.ndarray, "*batch pixels"], loc: Tensor, scale: Tensor
) -> Float[np.ndarray, "*batch height width"]:
    """Numbers of an image's pixels in raw units, as pictures."""
    if schema.image_shape is None:
        raise InputError("pictures: expected the columns of an image, got a schema without image_shape")
    raw = numbers * scale.cpu().numpy() + loc.cpu().numpy()
    positive = list(schema.of_kind("positive"))
    raw[..., positive] = np.exp(raw[..., positive])
    return raw.reshape(*numbers.shape[:-1], *schema.image_shape)
