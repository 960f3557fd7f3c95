"""``ppl-models explore``: a page whose sliders move z and whose decoder draws the row at once."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import typer

from ppl_models.commands.runs import open_fit, read_run
from ppl_models.commands.tables import source_of
from ppl_models.datasets import Dataset, Schema, some_of, stream
from ppl_models.errors import InputError
from ppl_models.evaluation import ConceptVector, concept_vector
from ppl_models.explorer import write_explorer
from ppl_models.families import Family
from ppl_models.families.decoding import Decoding

PAGE = "explorer.html"
MOST = 10_000  # rows that are encoded


def run(
    folder: Path,
    table: Path | None,
    *,
    query: str | None,
    fit: str | None,
    output: Path | None,
    concepts: Sequence[str],
    seed: int,
) -> int:
    """Write the page.

    Args:
        folder: of the run.
        table: rows of the same columns; None for the table of the run.
        query: of a database.
        fit: which of the run's; None for the best that has a decoder.
        output: the file; None for explorer.html in the run's folder.
        concepts: ``column=value`` each; their directions lead from the other rows to those.
        seed: of what is drawn.

    Returns:
        The exit code, 0.
    """
    told = read_run(folder)
    family = _decoding(folder, told, fit)
    place, asked = (table, query) if table is not None else (Path(str(told["table"])), told["query"])
    frame = pd.concat(stream(source_of(place, asked), family.schema).frames(), ignore_index=True)
    rows = some_of(family.preparation(frame), MOST, seed=seed)
    found = {concept: _concept(family, rows, concept, seed) for concept in concepts}
    typer.echo(write_explorer(family, rows, output or folder / PAGE, concepts=found, seed=seed))
    return 0


def _decoding(folder: Path, told: dict[str, object], fit: str | None) -> Family:
    """The fit that is asked for, or the best one with a decoder."""
    if fit is not None:
        return open_fit(folder, fit).family
    ranked = [line["model"] for line in told.get("comparison", ())] or [str(told["best"])]
    families = (open_fit(folder, name).family for name in ranked)
    found = next((family for family in families if isinstance(family, Decoding)), None)
    if found is None:
        raise InputError(f"{folder}: expected a fit with a decoder, such as a vae, got {', '.join(ranked)}")
    return found


def _concept(family: Family, rows: Dataset, told: str, seed: int) -> ConceptVector:
    """The direction from rows without something to those with it."""
    name, equals, value = told.rpartition("=")
    if not (name and equals and value):
        raise InputError(f"concept: expected column=value, got {told!r}")
    codes, shown = _codes(rows, family.schema, name)
    if value not in shown:
        raise InputError(f"concept {told!r}: expected one of {', '.join(shown)}, got {value!r}")
    known = codes >= 0
    has = (codes == shown.index(value))[known]
    latents = family.encode(rows)[known].cpu().numpy()
    return concept_vector(latents.astype(float), has.cpu().numpy(), seed=seed)


def _codes(rows: Dataset, schema: Schema, name: str) -> tuple[object, list[str]]:
    """A column's codes, −1 where missing, and what they stand for."""
    if schema.label is not None and name == schema.label.name:
        return rows.labels, [str(each) for each in schema.label.categories]
    if name not in schema.names:
        raise InputError(f"concept: no column {name!r}; the columns are {', '.join(schema.names)}")
    index = schema.names.index(name)
    column = schema.columns[index]
    if column.kind not in ("categorical", "binary"):
        raise InputError(f"concept: expected a categorical or a binary column, got {name!r}, which is {column.kind}")
    codes = rows.values[:, index].long().where(rows.observed[:, index], -1)
    return codes, [str(each) for each in column.categories] or ["0", "1"]
