"""The tables that come with the package: four simulated ones, melodies, and four real ones through scikit-learn."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn import datasets as sklearn_datasets

from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.melodies import melody_phrases, phrase_schema
from ppl_models.datasets.schema import Column, Schema
from ppl_models.datasets.table import conform, read
from ppl_models.errors import InputError

WRODL_TOPS = (
    "NoHair",
    "LongHairBun",
    "LongHairCurly",
    "LongHairStraight",
    "ShortHairShortWaved",
    "ShortHairShortFlat",
    "ShortHairFrizzle",
)
DIGIT_THRESHOLD = 7.5

CHECKSUMS = {
    "fast_food_spending.csv": "209452a46d2fa0075786f285365a9fc45af0cdfdb7bd92922f5dd432a88a8812",
    "fast_food_spending_groups.csv": "f1dd10ce130a27c0ef82815f64cf5191f7e941a86268b591530cb8cd06f28e89",
    "fast_food_customers.csv": "73e1a4ecd025be63457cbbdbd0b3dc935cdb3e618ef6288c730a0b6a324b23f4",
    "fast_food_customers_groups.csv": "0d3d37ccde35c365e86a7c8a2f4483482a5bcdafe39f85f3eb9f081a48c618f9",
    "five_groups.csv": "4f24c68cbe946364743f628fece0581bd7c19825568b62e341e9b91edcebe1f1",
    "melodies.csv": "0924419a6bb42b6fb6a1638da280be4dcfc3b8d0ce3c85f22f794c944f640730",
    "wrodl.csv": "4f0307b023f56b380156ce1777572f8304c0e9a2e65b264fe55d19b3839190fb",
}


@dataclass(frozen=True)
class Table:
    """A table with its schema and where it is from: one that comes with the package, or one of the user's own.

    Attributes:
        name: what ``load`` calls it, or the file's name.
        frame: rows by columns, checked against the schema.
        schema: what the columns are.
        source: where the rows come from.
    """

    name: str
    frame: pd.DataFrame
    schema: Schema
    source: str

    @classmethod
    def from_file(cls, path: str | Path, *, label: str | None = None) -> "Table":
        """A table read from a CSV or Parquet file, its schema inferred.

        Args:
            path: the file.
            label: the column that holds the class of a row.

        Raises:
            InputError: what ``read`` and ``infer_schema`` refuse.
        """
        frame = read(path)
        return cls(Path(path).stem, frame, infer_schema(frame, label=label), Path(path).name)


def load(name: str) -> Table:
    """One of the bundled tables, by name.

    Args:
        name: fast_food_spending, fast_food_customers, five_groups, wrodl, melodies (phrases of two bars, titles and
            bars in the index), wine, iris, breast_cancer, digits (17 grey levels) or digits_binary (a pixel is 1 where
            its grey level is above 7.5).

    Raises:
        InputError: there is no such table, or its file is not the one that was shipped.

    >>> load("wrodl").frame.shape
    (50, 5)
    """
    if name not in TABLES:
        raise InputError(f"bundled table: expected one of {', '.join(TABLES)}, got {name!r}")
    frame, schema, source = TABLES[name]()
    return Table(name, conform(frame, schema, source=name), schema, source)


def shipped(file: str) -> pd.DataFrame:
    """A shipped CSV file, its sha256 checked.

    Args:
        file: the file's name in the folder ``data``.

    Raises:
        InputError: the file is not among the shipped ones, is missing or was changed.
    """
    if file not in CHECKSUMS:
        raise InputError(f"shipped file: expected one of {', '.join(CHECKSUMS)}, got {file!r}")
    path = _folder() / file
    if not path.is_file():
        raise InputError(f"{path}: the shipped file is missing; install the package again")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != CHECKSUMS[file]:
        raise InputError(f"{path}: expected sha256 {CHECKSUMS[file]}, got {found}: the file was changed")
    return read(path)


def _folder() -> Path:
    """The folder of shipped files: inside the package once installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next((folder for folder in (package / "data", package.parent / "data") if folder.is_dir()), package / "data")


def _fast_food_spending() -> tuple[pd.DataFrame, Schema, str]:
    schema = Schema((Column("dollars_per_week", "real"),))
    return shipped("fast_food_spending.csv"), schema, "simulated by data/simulate.py"


def _fast_food_customers() -> tuple[pd.DataFrame, Schema, str]:
    frame = shipped("fast_food_customers.csv")
    kinds = {"dollars_per_week": "positive", "visits_per_week": "count", "has_app": "binary", "age": "real"}
    return frame, infer_schema(frame, label="group", kinds=kinds), "simulated by data/simulate.py"


def _five_groups() -> tuple[pd.DataFrame, Schema, str]:
    schema = Schema((Column("first", "real"), Column("second", "real")))
    return shipped("five_groups.csv"), schema, "simulated by data/simulate.py"


def _wrodl() -> tuple[pd.DataFrame, Schema, str]:
    frame = shipped("wrodl.csv")
    schema = infer_schema(frame, categories={"top": WRODL_TOPS})
    return frame, schema, "simulated by data/simulate.py from published marginal counts"


def _melodies() -> tuple[pd.DataFrame, Schema, str]:
    source = "traditional melodies, typed from the tunes named in data/README.md"
    return melody_phrases(shipped("melodies.csv")), phrase_schema(), source


def _measured(loader: Callable[..., object]) -> tuple[pd.DataFrame, Schema, str]:
    """A table of real measurements with a class, from scikit-learn."""
    bunch = loader(as_frame=True)
    frame = bunch.data.assign(label=bunch.target_names[bunch.target])
    kinds = dict.fromkeys(bunch.data.columns, "real")
    return frame, infer_schema(frame, label="label", kinds=kinds), f"scikit-learn, {loader.__name__}"


def _digits(kind: str) -> tuple[pd.DataFrame, Schema, str]:
    """The 8 by 8 digits as grey levels from 0 to 16, or as bits."""
    bunch = sklearn_datasets.load_digits(as_frame=True)
    pixels = bunch.data if kind == "categorical" else (bunch.data > DIGIT_THRESHOLD).astype(int)
    levels = {"categories": tuple(float(level) for level in range(17))} if kind == "categorical" else {}
    columns = tuple(Column(name, kind, **levels) for name in pixels.columns)
    label = Column("digit", "categorical", tuple(range(10)))
    stated = "" if kind == "categorical" else f", 1 where the grey level is above {DIGIT_THRESHOLD}"
    return pixels.assign(digit=bunch.target), Schema(columns, label, (8, 8)), f"scikit-learn, load_digits{stated}"


TABLES: dict[str, Callable[[], tuple[pd.DataFrame, Schema, str]]] = {
    "fast_food_spending": _fast_food_spending,
    "fast_food_customers": _fast_food_customers,
    "five_groups": _five_groups,
    "wrodl": _wrodl,
    "melodies": _melodies,
    "wine": lambda: _measured(sklearn_datasets.load_wine),
    "iris": lambda: _measured(sklearn_datasets.load_iris),
    "breast_cancer": lambda: _measured(sklearn_datasets.load_breast_cancer),
    "digits": lambda: _digits("categorical"),
    "digits_binary": lambda: _digits("binary"),
}
