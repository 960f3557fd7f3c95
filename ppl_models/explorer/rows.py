"""Encoded rows as facts for the page: where they lie, how far the space reaches, and what of it they use."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import ConceptVector
from ppl_models.explorer.heads import Facts
from ppl_models.explorer.steps import Numbers
from ppl_models.families import Amortised
from ppl_models.families.decoding import Decoding
from ppl_models.inference import encode
from ppl_models.inference.latent import own_labels, prior_of

MOST = 1000  # rows that a page holds
ENDS = (0.005, 0.995)  # quantiles of the aggregate posterior, which the sliders reach to besides all codes
USED = 0.01  # variance of a dimension's codes above which Burda and others (2016) call it active
Concept = ConceptVector | Float[np.ndarray, " latent"]


def chosen(data: Dataset, *, seed: int) -> np.ndarray:
    """The positions of the rows that a page holds: all, or some drawn at random, in order."""
    if len(data) <= MOST:
        return np.arange(len(data))
    return np.sort(np.random.default_rng(seed).choice(len(data), MOST, replace=False))


def row_facts(family: Decoding, rows: Dataset, numbers: Numbers, *, seed: int) -> Facts:
    """Rows that a walk may start or end at: their codes, names and classes.

    Args:
        family: a fitted family with a decoder.
        rows: of its preparation; at most 1,000 of them are kept, drawn at random.
        numbers: where the codes go.
        seed: the seed of that draw.

    Raises:
        InputError: no row, rows of one of several processes, or of another preparation.
    """
    places, some = _some(rows, "rows", seed=seed)
    told = own_labels(family, some)
    return {
        "of": len(rows),
        "rows": [int(place) + 1 for place in places],
        "classes": None if rows.schema.label is None else [int(code) for code in some.labels],
        "told": None if told is None else told.tolist(),
        "codes": numbers.add(torch.tensor(encode(family, some).to_numpy())),
    }


@torch.no_grad()
def cloud_facts(family: Decoding, train: Dataset, numbers: Numbers, *, seed: int) -> Facts:
    """What the encoded training rows tell of the latent space.

    Args:
        family: a fitted family with a decoder.
        train: its training rows; at most 1,000 of them are asked, drawn at random.
        numbers: where the codes and their log densities go.
        seed: the seed of that draw, and of the draws of the aggregate posterior that give each dimension its range.

    Raises:
        InputError: no row, rows of one of several processes, or of another preparation.
    """
    _, some = _some(train, "train", seed=seed)
    codes = encode(family, some).to_numpy()
    draws, facts = codes, {}
    if isinstance(family, Amortised):
        with seeded(seed):
            draws = family.posterior(some).sample().double().cpu().numpy()
        told = torch.tensor(codes, dtype=family.dtype, device=family.loc.device)
        facts["densities"] = numbers.add(prior_of(family, "explorer").log_prob(told).sort().values)
        facts["unused"] = [bool(variance < USED) for variance in codes.var(axis=0)]
    low, high = (np.quantile(draws, end, axis=0) for end in ENDS)
    low, high = np.minimum(low, codes.min(axis=0)), np.maximum(high, codes.max(axis=0))
    low, high = np.where(low < high, low, low - 1.0), np.where(low < high, high, high + 1.0)
    return {
        "of": len(train),
        "count": len(some),
        "classes": None if train.schema.label is None else [int(code) for code in some.labels],
        "codes": numbers.add(torch.tensor(codes)),
        "low": low.tolist(),
        "high": high.tolist(),
        "axes": _axes(codes),
        "seen": _seen(some),
        **facts,
    }


def concept_facts(concepts: Mapping[str, Concept] | None, latent: int) -> list[Facts]:
    """Directions of the latent space by name.

    Args:
        concepts: vectors, or what ``evaluation.concept_vector`` says of them.
        latent: dimensions of z.

    Raises:
        InputError: a vector of other dimensions, or one that is not finite.

    >>> concept_facts({"smile": np.array([1.0, 0.0])}, 2)
    [{'name': 'smile', 'vector': [1.0, 0.0], 'detail': ''}]
    """
    found = []
    for name, concept in (concepts or {}).items():
        known = isinstance(concept, ConceptVector)
        vector = np.asarray(concept.vector if known else concept, dtype=np.float64)
        if vector.shape != (latent,) or not np.isfinite(vector).all():
            raise InputError(
                f"concept {name!r}: expected {latent} finite numbers, got shape {vector.shape}, "
                f"{np.isfinite(vector).sum()} of them finite"
            )
        detail = f"{concept.ratio:.1f} times as long as by chance, p\u00a0=\u00a0{concept.p_value:.2g}" if known else ""
        found.append({"name": str(name), "vector": vector.tolist(), "detail": detail})
    return found


def _some(data: Dataset, name: str, *, seed: int) -> tuple[np.ndarray, Dataset]:
    """The rows that a page holds, and their positions."""
    data.require_whole(f"explorer: {name}")
    if not len(data):
        raise InputError(f"explorer: expected one row or more in {name}, got none")
    places = chosen(data, seed=seed)
    return places, data[torch.from_numpy(places).to(data.labels.device)]


def _axes(codes: Float[np.ndarray, "rows latent"]) -> list[int]:
    """The two dimensions whose codes vary most, in order; the only one where there is no other."""
    return np.sort(np.argsort(-codes.var(axis=0), kind="stable")[:2]).tolist()


def _seen(some: Dataset) -> list[list[float] | None]:
    """Of each column its lowest and highest cell in raw units, or the share of each category; None where all miss."""
    return [_cells(some, index) for index in range(len(some.schema.columns))]


def _cells(some: Dataset, index: int) -> list[float] | None:
    column, values = some.schema.columns[index], some.values[some.observed[:, index], index]
    if not len(values):
        return None
    if column.cardinality:
        return (torch.bincount(values.long(), minlength=column.cardinality) / len(values)).tolist()
    ends = torch.stack([values.min(), values.max()])
    if column.kind != "count":
        ends = ends * some.scale[index] + some.loc[index]
    return (ends.exp() if column.kind == "positive" else ends).tolist()
