"""``ppl-models sample``: rows drawn from a fit, in the table's own columns, kinds and units."""

from pathlib import Path

from ppl_models.commands.runs import open_fit
from ppl_models.commands.written import write_table
from ppl_models.inference import sample


def run(folder: Path, *, rows: int, fit: str | None, output: Path | None, seed: int, as_json: bool) -> int:
    """Draw rows and write them.

    Args:
        folder: of the run.
        rows: how many.
        fit: which of the run's; None for the best.
        output: a CSV or Parquet file; None for standard output.
        seed: of the draws.
        as_json: whether standard output takes JSON.

    Returns:
        The exit code, 0.
    """
    write_table(sample(open_fit(folder, fit).family, rows, seed=seed), output, as_json=as_json)
    return 0
