"""Missing cells drawn given the observed ones, and filled in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset
from ppl_models.distributions import seeded
from ppl_models.errors import InputError, at_least_one
from ppl_models.families import Amortised, ClassProduct, Family
from ppl_models.inference.inpainting import MissingDraws, missing_draws


@dataclass(frozen=True)
class Imputation:
    """A table with its missing cells filled in.

    Attributes:
        frame: the rows, called as the table called them, in raw columns, kinds and units; missing cells hold the median
            of their draws, categories the most frequent one.
        cells: one row a missing cell: row (from 0), column, value (what was filled in), and of its draws mean, sd, low
            and high (90 % interval) for numbers or probability for the category filled in; NaN for the other kind.
        draws: the draws, the missing cells of the rows by draw: one column a row of ``cells``, raw numbers or codes.
        rows: one row a row with a missing cell: row (from 0), effective (how many independent draws from p(z |
            observed) the answer rests on) and khat (above 0.7 they are not to be trusted; NaN where draws are exact).
    """

    frame: pd.DataFrame
    cells: pd.DataFrame
    draws: Float[np.ndarray, "draws cells"]
    rows: pd.DataFrame


@torch.no_grad()
def impute(family: Family, data: Dataset, *, seed: int, draws: int = 200, proposals: int = 1000) -> Imputation:
    """Fill in missing cells from their distribution given the observed ones, component and θ, or z, integrated out.

    Args:
        family: a fitted naive Bayes, mixture or variational autoencoder.
        data: rows of its preparation; labels are not used.
        seed: the seed of the draws.
        draws: of each cell.
        proposals: of z for each row, from which an amortised family's draws are taken (``inpainting.py``); exact
            families need none.

    Raises:
        InputError: another family, rows of another preparation, or no draw.

    >>> from ppl_models import NaiveBayes, fit, load, prepare
    >>> table = load("fast_food_customers")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> found = impute(fit(NaiveBayes(table.schema), rows, seed=0).family, rows, seed=0)
    >>> int(found.frame.isna().sum().sum()), len(found.cells) == int((~rows.observed).sum())
    (0, True)
    """
    family.require(data)
    at_least_one(draws=draws, proposals=proposals)
    rows, columns = (~data.observed).nonzero(as_tuple=True)
    holes = rows.unique()
    with seeded(seed):
        found = _drawn(family, data, draws, proposals)
    drawn = found.cells
    raw = _in_raw_units(family, drawn, columns)
    discrete = np.array([bool(column.cardinality) for column in data.schema.columns])[columns.numpy()]
    cells = _summary(raw, discrete)
    filled = data.values.clone()
    filled[rows, columns] = _nearest_draw(drawn, raw, cells["value"].to_numpy())
    frame = family.preparation.invert(filled, data.names)
    names = [data.schema.names[index] for index in columns.tolist()]
    places = pd.DataFrame({"row": rows.numpy(), "column": names})
    trust = pd.DataFrame({"row": holes.numpy(), "effective": found.effective, "khat": found.khat})
    return Imputation(frame, places.join(cells), raw, trust)


@torch.no_grad()
def completed(family: ClassProduct, data: Dataset, draws: int) -> Float[Tensor, "draws rows columns"]:
    """Prepared rows with their missing cells drawn, under torch's current random state."""
    logits = family.log_joint(data)
    member = torch.distributions.Categorical(logits=logits).sample((draws,)).flatten()
    repeated = data[torch.arange(len(data)).repeat(draws)]
    natural = family.guide.natural()
    return family.row.draw_given(natural[:, :-1], member, repeated).unflatten(0, (draws, len(data)))


def _drawn(family: Family, data: Dataset, draws: int, proposals: int) -> MissingDraws:
    """The missing cells, and how far each row that has some is to be trusted."""
    holes = ~data.observed.all(-1)
    if isinstance(family, Amortised):
        return missing_draws(family, data[holes], draws=draws, proposals=proposals)
    if not isinstance(family, ClassProduct):
        raise InputError(
            f"imputation: expected a naive Bayes, a mixture or a variational autoencoder, got {type(family).__name__}"
        )
    rows = int(holes.sum())
    cells = completed(family, data, draws)[:, ~data.observed]
    return MissingDraws(cells, np.full(rows, float(draws)), np.full(rows, np.nan))


def _in_raw_units(family: Family, drawn: Tensor, columns: Tensor) -> np.ndarray:
    """Prepared cells in raw units, categories as codes."""
    preparation = family.preparation
    kinds = [column.kind for column in preparation.schema.columns]
    continuous = torch.tensor([kind in ("real", "positive") for kind in kinds])[columns]
    positive = torch.tensor([kind == "positive" for kind in kinds])[columns]
    straight = torch.where(continuous, drawn * preparation.scale[columns] + preparation.loc[columns], drawn)
    return torch.where(positive, straight.exp(), straight).numpy()


def _summary(raw: np.ndarray, discrete: np.ndarray) -> pd.DataFrame:
    """What is filled in, and how sure."""
    draws, cells = raw.shape
    order = np.sort(raw, axis=0)
    middle = order[(draws - 1) // 2] if cells else np.empty(0)
    codes = np.arange(int(raw[:, discrete].max(initial=0)) + 1)
    shares = (raw[:, :, None] == codes).mean(0) if discrete.any() else np.zeros((cells, 1))
    low, high = np.quantile(raw, [0.05, 0.95], axis=0)
    numbers = {"mean": raw.mean(0), "sd": raw.std(0, ddof=min(1, draws - 1)), "low": low, "high": high}
    return pd.DataFrame(
        {"value": np.where(discrete, shares.argmax(-1), middle)}
        | {name: np.where(discrete, np.nan, value) for name, value in numbers.items()}
        | {"probability": np.where(discrete, shares.max(-1), np.nan)}
    )


def _nearest_draw(drawn: Tensor, raw: np.ndarray, values: np.ndarray) -> Tensor:
    """The prepared value of the draw that each raw value is."""
    return drawn.gather(0, torch.tensor(np.abs(raw - values).argmin(0))[None])[0]
