"""What a table's columns are: their names, their kinds, their categories, and which one is the label."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Int

from ppl_models.errors import InputError

Kind = Literal["real", "positive", "count", "binary", "categorical"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Column:
    """One column: its name, its kind and, where it is categorical, the categories in order.

    Attributes:
        name: the column's name in the table.
        kind: ``real`` (any number), ``positive`` (above zero, modelled on its logarithm), ``count``
            (0, 1, 2, ...), ``binary`` (0 or 1, or booleans) or ``categorical``.
        categories: the values a categorical column may take, those that nobody chose included.
        ordered: whether the categories are, in tables that come back; no model asks.
        boolean: whether a binary column's cells are booleans, in tables that come back, and not 0 and 1.
    """

    name: str
    kind: Kind
    categories: tuple[object, ...] = ()
    ordered: bool = field(default=False, kw_only=True)
    boolean: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"column {self.name!r}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "categorical" and len(set(self.categories)) < 2:
            raise InputError(
                f"column {self.name!r}: a categorical column needs two or more categories, got {list(self.categories)}"
            )
        if self.categories and self.kind != "categorical":
            raise InputError(
                f"column {self.name!r}: only a categorical column has categories, "
                f"got {list(self.categories)} for a {self.kind} one"
            )
        for asked, kind in (("ordered", "categorical"), ("boolean", "binary")):
            if getattr(self, asked) and self.kind != kind:
                raise InputError(f"column {self.name!r}: only a {kind} column is {asked}, got a {self.kind} one")
        if len(set(self.categories)) != len(self.categories):
            raise InputError(f"column {self.name!r}: a category is listed twice in {list(self.categories)}")

    def from_codes(self, codes: Int[np.ndarray, " rows"]) -> pd.Categorical:
        """A categorical column's cells by the positions of their categories; −1 for none."""
        return pd.Categorical.from_codes(codes, categories=list(self.categories), ordered=self.ordered)

    @property
    def continuous(self) -> bool:
        """Whether the column carries a density; the others carry a probability mass."""
        return self.kind in ("real", "positive")

    @property
    def cardinality(self) -> int:
        """How many values a binary or categorical column may take; 0 for the other kinds."""
        return 2 if self.kind == "binary" else len(self.categories)


@dataclass(frozen=True)
class Schema:
    """The columns that a model describes, in order, and the label if there is one.

    Attributes:
        columns: the modelled columns; the label is not among them.
        label: a categorical column, the class of a row, or None.
        image_shape: (height, width) if the columns are the pixels of an image, row by row.
        sequence: whether the columns are the steps of a sequence in order, categorical columns that share their
            categories. Missing cells at a row's end are steps that it does not have, others are holes.
    """

    columns: tuple[Column, ...]
    label: Column | None = None
    image_shape: tuple[int, int] | None = None
    sequence: bool = False

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns] + ([self.label.name] if self.label else [])
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"schema: column {repeated[0]!r} is named twice")
        if not self.columns:
            raise InputError("schema: at least one column besides the label is needed, got none")
        if self.label and self.label.kind != "categorical":
            raise InputError(f"label {self.label.name!r}: must be categorical, not {self.label.kind}")
        if self.image_shape and int(np.prod(self.image_shape)) != len(self.columns):
            raise InputError(
                f"image_shape {self.image_shape} needs {int(np.prod(self.image_shape))} columns, "
                f"the schema has {len(self.columns)}"
            )
        if self.sequence:
            self._refuse_steps()

    def _refuse_steps(self) -> None:
        """Refuse columns that are no steps of one sequence."""
        first = self.columns[0]
        if self.image_shape:
            raise InputError(f"sequence: expected steps in a line, got image_shape {self.image_shape}")
        for column in self.columns:
            if column.kind != "categorical":
                raise InputError(
                    f"sequence: expected categorical columns alone, {column.name!r} is {column.kind}; drop it or make "
                    "it the label"
                )
            if column.categories != first.categories:
                raise InputError(
                    f"sequence: expected one vocabulary, the {len(first.categories)} categories of {first.name!r}, got "
                    f"others in {column.name!r}, {_first_other(column, first)!r} for one"
                )

    @property
    def length(self) -> int:
        """How many steps a sequence has at most; 0 where the columns are none."""
        return len(self.columns) if self.sequence else 0

    @property
    def vocabulary(self) -> tuple[object, ...]:
        """The tokens that every step of a sequence is one of; none where the columns are no sequence."""
        return self.columns[0].categories if self.sequence else ()

    def require_sequence(self, what: str) -> None:
        """Refuse columns that are no sequence.

        Args:
            what: what the message begins with.

        Raises:
            InputError: they are none.
        """
        if not self.sequence:
            raise InputError(
                f"{what}: expected the steps of a sequence, as sequence_schema(frame) or sequence_table(lists) tell "
                f"them, got a schema of {len(self.columns)} columns that are none"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modelled columns."""
        return tuple(column.name for column in self.columns)

    @property
    def described(self) -> tuple[Column, ...]:
        """The modelled columns, and the label after them if there is one."""
        return self.columns if self.label is None else (*self.columns, self.label)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each modelled column, by name."""
        return {column.name: column.kind for column in self.columns}

    @property
    def discrete(self) -> tuple[bool, ...]:
        """Which columns carry a probability mass and not a density."""
        return tuple(not column.continuous for column in self.columns)

    @property
    def classes(self) -> int:
        """The number of classes of the label; 1 without a label."""
        return len(self.label.categories) if self.label else 1

    def class_code(self, name: object) -> int:
        """The code of one of the label's classes.

        Raises:
            InputError: there is no label, or no such class.
        """
        if self.label is None:
            raise InputError(f"class {name!r}: expected a schema with a label, got one without")
        if name not in self.label.categories:
            known = ", ".join(map(str, self.label.categories))
            raise InputError(f"label {self.label.name!r}: expected one of {known}, got {name!r}")
        return self.label.categories.index(name)

    def of_kind(self, *kinds: str) -> tuple[int, ...]:
        """The positions of the columns of these kinds."""
        return tuple(index for index, column in enumerate(self.columns) if column.kind in kinds)

    def override(self, **kinds: Kind | Column) -> "Schema":
        """The same schema with other kinds for some columns.

        Args:
            kinds: by column name, a kind, or a ``Column`` of that name, which is how a column becomes categorical.

        Raises:
            InputError: no such column, or it cannot be of the kind asked for.

        >>> schema = Schema((Column("visits", "real"), Column("size", "count")))
        >>> schema.override(visits="count", size=Column("size", "categorical", (1, 2, 3))).kinds
        {'visits': 'count', 'size': 'categorical'}
        """
        unknown = sorted(set(kinds) - set(self.names))
        if unknown:
            raise InputError(f"schema: no column {unknown[0]!r}; the columns are {', '.join(self.names)}")
        return replace(
            self, columns=tuple(_overridden(column, kinds.get(column.name, column)) for column in self.columns)
        )


def _first_other(column: Column, first: Column) -> object:
    """The first category that only one of two columns has, or that stands elsewhere in the other."""
    apart = set(column.categories) ^ set(first.categories)
    return next((one for one in (*column.categories, *first.categories) if one in apart), column.categories[0])


def _overridden(column: Column, change: Kind | Column) -> Column:
    """The column of another kind; of none of its categories unless it stays categorical."""
    if isinstance(change, Column):
        if change.name != column.name:
            raise InputError(f"column {column.name!r}: expected a Column of that name, got one named {change.name!r}")
        return change
    if change == column.kind:
        return column
    if change == "categorical":
        raise InputError(
            f"column {column.name!r}: the kind alone does not tell its categories; "
            f"expected Column({column.name!r}, 'categorical', (...)), got 'categorical'"
        )
    return Column(column.name, change)
