"""What do missing cells cost? Full covariances fitted to wine with a fifth of its cells gone."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ppl_models import GaussianMixture, Report, Schema, fit, load, log_density, prepare, sample, split
from ppl_models.scripts import OutputDir, Quick, Seed, script

SHARE = 0.2  # of the cells, missing at random
COLUMNS = ["rows", "components", "splits", "elpd, all cells", "diff, integrated", "se", "diff, filled", "se, filled"]


def with_holes(frame: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The table with a share of its cells missing at random."""
    return frame.mask(np.random.default_rng(seed).random(frame.shape) < SHARE)


def elpds(frame: pd.DataFrame, schema: Schema, *, components: int, seed: int) -> list[np.ndarray]:
    """Held-out log density of the observed cells of each row, fitted each way to the same training rows."""
    parts = split(frame[list(schema.names)], seed=seed)
    train = pd.concat([parts.train, parts.validation])
    holes, test = with_holes(train, seed=seed), with_holes(parts.test, seed=10_000 + seed)
    preparation = prepare(holes, schema)
    found = []
    for rows in (train, holes, holes.fillna(holes.mean())):
        family = GaussianMixture(schema, components=components, covariance="full")
        fit(family, preparation(rows), seed=seed)
        found.append(log_density(family, preparation(test.dropna(how="all"))).values)
    return found


def row(name: str, frame: pd.DataFrame, schema: Schema, *, components: int, seeds: range) -> dict[str, object]:
    """Mean differences from the fit to complete cells over splits, and their standard errors over splits."""
    runs = [elpds(frame, schema, components=components, seed=seed) for seed in seeds]
    means = np.array([[values.mean() for values in run] for run in runs])
    diff = means[:, 1:] - means[:, :1]
    mean, error = diff.mean(0), diff.std(0, ddof=1) / len(runs) ** 0.5
    found = (f"{name}, {len(frame)}", components, len(runs), means[:, 0].mean(), mean[0], error[0], mean[1], error[1])
    return dict(zip(COLUMNS, found, strict=True))


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/missing_cells"), quick: Quick = False) -> None:
    """Compare fits with and without the missing cells, on wine and on more rows of a normal fitted to it."""
    started = perf_counter()
    wine = load("wine")
    schema = Schema(wine.schema.columns)
    seeds = range(seed, seed + (2 if quick else 10))
    rows = prepare(wine.frame, schema)(wine.frame)
    whole = fit(GaussianMixture(schema, components=1, covariance="full"), rows, seed=seed)
    found = [row("wine", wine.frame, schema, components=count, seeds=seeds) for count in (1, 2)]
    for times in (1, 4) if quick else (1, 4, 16):
        drawn = sample(whole.family, times * len(wine.frame), seed=seed)
        found.append(row("drawn from a normal", drawn, schema, components=1, seeds=seeds))
    table = pd.DataFrame(found)
    cost, filled, error = table["diff, integrated"], table["diff, filled"], table["se"]
    last, most = len(table) - 1, len(drawn)
    summary = (
        f"On wine, integrating the missing fifth of the cells out costs {-cost[0]:.3f} nats a held-out row "
        f"(se {error[0]:.3f}) against the fit that saw them all; filling them with means costs {-filled[0]:.3f}. "
    )
    summary += (
        f"It is what the lost cells would have told of {whole.family.n_parameters} parameters: with {most:,} rows of a "
        f"like normal it is {-cost[last]:.3f} (se {error[last]:.3f}), that of filling still {-filled[last]:.3f}."
    )
    report = Report("Missing cells under full covariances", summary=summary, seed=seed)
    report.data("wine, all rows", rows.checksum, len(rows))
    caption = "Held-out elpd of the observed cells of test rows with a fifth missing: nats per row, raw units, exact."
    report.table("cost", table.set_index("rows"), caption=caption)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
