"""Sequences of tokens as tables: a row a sequence, a column a step, all columns of one vocabulary.

A sequence that is shorter than the longest one ends in missing cells. A missing cell before a row's last token is a
hole: a token that was there and was not seen. The length of a row is given, and no family describes it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from ppl_models.datasets.bundled import Table
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.schema import Column, Schema
from ppl_models.errors import InputError

LABEL = "label"


def sequence_table(
    sequences: Sequence[Sequence[object]],
    *,
    vocabulary: Sequence[object] | None = None,
    pad: bool = False,
    labels: Sequence[object] | np.ndarray | pd.Series | pd.Categorical | None = None,
    name: str = "sequences",
    source: str = "lists of tokens",
) -> Table:
    """Lay lists of tokens out as a table with a column ``step_01``, ``step_02``, ... for each step.

    Args:
        sequences: a list of tokens each; None for a token that was not seen.
        vocabulary: the tokens there can be, in order; those that occur, sorted, by default.
        pad: whether sequences may differ in length; shorter ones end in missing cells.
        labels: the class of each sequence, which becomes the column ``label``.
        name: the table's name, and what messages begin with.
        source: where the sequences come from.

    Raises:
        InputError: no sequence, one that is empty or without a seen token, a token that is not in the vocabulary, other
            lengths without ``pad``, or labels that are not as many.

    >>> table = sequence_table([["C", "D", "E"], ["C"]], pad=True)
    >>> table.frame.columns.tolist(), table.schema.vocabulary, int(table.frame.isna().sum().sum())
    (['step_1', 'step_2', 'step_3'], ('C', 'D', 'E'), 2)
    """
    rows = [list(sequence) for sequence in sequences]
    _refuse_lengths(rows, pad=pad, name=name)
    vocabulary = _vocabulary([token for row in rows for token in row], vocabulary, name)
    columns = _steps(max(map(len, rows)), vocabulary)
    codes = _codes(rows, vocabulary, name)
    frame = pd.DataFrame({column.name: column.from_codes(codes[:, step]) for step, column in enumerate(columns)})
    if labels is None:
        return Table(name, frame, Schema(columns, sequence=True), source)
    if np.ndim(labels) != 1 or len(labels) != len(rows):
        raise InputError(f"{name}: expected {len(rows)} labels, one a sequence, got shape {np.shape(labels)}")
    frame[LABEL] = pd.Series(labels).array
    label = infer_schema(frame[[columns[0].name, LABEL]], label=LABEL).label
    return Table(name, frame, Schema(columns, label, sequence=True), source)


def sequence_schema(
    frame: pd.DataFrame, *, vocabulary: Sequence[object] | None = None, label: str | None = None
) -> Schema:
    """The schema of a table whose columns are the steps of a sequence, in order.

    Args:
        frame: the table, such as a file with the columns ``step_01``, ``step_02``, ...; missing cells are NaN or None.
        vocabulary: the tokens there can be, in order; those that occur in any column, sorted, by default.
        label: the column that holds the class of a row.

    Raises:
        InputError: a table without rows, no tokens, a token that is not in the vocabulary, or what ``infer_schema``
            refuses of the label.

    >>> sequence_schema(pd.DataFrame({"step_1": ["C", "D"], "step_2": ["E", None]})).vocabulary
    ('C', 'D', 'E')
    """
    steps = frame.drop(columns=label) if label in frame.columns else frame
    cells = steps.to_numpy(dtype=object)
    found = _vocabulary(list(cells.ravel()), vocabulary, "sequence")
    told = infer_schema(frame, label=label, categories=dict.fromkeys(steps.columns, found))
    _codes(cells.tolist(), found, "sequence", columns=list(steps.columns))
    return Schema(told.columns, told.label, sequence=True)


def _steps(length: int, vocabulary: tuple[object, ...]) -> tuple[Column, ...]:
    """A column for each step, its number as wide as the last one's."""
    width = len(str(length))
    return tuple(Column(f"step_{step:0{width}d}", "categorical", vocabulary) for step in range(1, length + 1))


def _refuse_lengths(rows: list[list[object]], *, pad: bool, name: str) -> None:
    """Refuse no sequence, an empty one, and other lengths where none are expected."""
    if not rows:
        raise InputError(f"{name}: expected one or more sequences, got none")
    for row, tokens in enumerate(rows, start=1):
        if all(pd.isna(token) for token in tokens):
            found = f"{len(tokens)} missing ones" if tokens else "an empty sequence"
            raise InputError(f"{name}: row {row}: expected one or more tokens, got {found}")
        if not pad and len(tokens) != len(rows[0]):
            raise InputError(
                f"{name}: row {row}: expected {len(rows[0])} steps as in row 1, got {len(tokens)}; pad=True takes the "
                "steps that shorter sequences lack for missing"
            )


def _vocabulary(tokens: list[object], given: Sequence[object] | None, name: str) -> tuple[object, ...]:
    """The tokens there can be."""
    if given is not None:
        found = tuple(given)
    else:
        seen = pd.Series(tokens, dtype=object).dropna().unique().tolist()
        whole = {int(token) for token in seen if isinstance(token, int | float) and float(token).is_integer()}
        seen = whole if whole.issuperset(seen) else seen  # whole numbers that missing cells among them made floats
        found = tuple(sorted(seen, key=lambda token: (str(type(token)), token)))
    if len(set(found)) < 2:
        raise InputError(f"{name}: expected a vocabulary of two or more tokens, got {list(found)}")
    return found


def _codes(
    rows: list[list[object]], vocabulary: tuple[object, ...], name: str, *, columns: Sequence[str] | None = None
) -> Int[np.ndarray, "rows steps"]:
    """The place of each token in the vocabulary, −1 where it is missing or beyond the sequence's end."""
    places = {token: place for place, token in enumerate(vocabulary)}
    codes = np.full((len(rows), max(map(len, rows))), -1)
    for row, tokens in enumerate(rows):
        for step, token in enumerate(tokens):
            if pd.isna(token):
                continue
            if token not in places:
                where = f"step {step + 1}" if columns is None else f"column {columns[step]!r}"
                shown = ", ".join(map(str, vocabulary[:8])) + ", …" * (len(vocabulary) > 8)
                raise InputError(
                    f"{name}: row {row + 1}, {where}: expected one of {len(vocabulary)} tokens, {shown}, got {token!r}"
                )
            codes[row, step] = places[token]
    return codes
