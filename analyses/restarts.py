"""How often do the default restarts find the best optimum? Five overlapping groups, 100 seeds, by three criteria."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ppl_models import GaussianMixture, Report, fit, load, prepare
from ppl_models.datasets import Dataset, Schema
from ppl_models.inference import NaturalGradient, restart_report
from ppl_models.reports import fit_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

MODELS = {
    "full covariances, posterior": {"covariance": "full"},
    "full covariances, maximum likelihood": {"covariance": "full", "estimate": "maximum-likelihood"},
    "diagonal covariances, posterior": {"covariance": "diagonal"},
}
SAME = 0.01  # nats in total: two fits that differ by less are at one optimum


def elbos(schema: Schema, rows: Dataset, settings: dict[str, str], seeds: range, **method: int) -> np.ndarray:
    """The best ELBO of each seed's fit, nats in total."""
    fits = (
        fit(GaussianMixture(schema, components=5, **settings), rows, seed=seed, method=NaturalGradient(**method))
        for seed in seeds
    )
    return np.array([found.elbo * len(rows) for found in fits])


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/restarts"), quick: Quick = False) -> None:
    """Count seeds whose fit is at the best optimum that any fit, or a long search, came to."""
    started = perf_counter()
    table = load("five_groups")
    rows = prepare(table.frame, table.schema)(table.frame)
    seeds = range(seed, seed + (5 if quick else 100))
    found, fits, optima = [], {}, {}
    for name, settings in MODELS.items():
        reached = elbos(table.schema, rows, settings, seeds)
        alone = elbos(table.schema, rows, settings, seeds, restarts=1, starts=1)
        search = elbos(table.schema, rows, settings, range(seed, seed + 1), restarts=128, starts=128)
        best = max(reached.max(), alone.max(), search.max())
        found.append(
            {
                "model": name,
                "best ELBO, total nats": best,
                "seeds": len(seeds),
                "default finds it": int((reached > best - SAME).sum()),
                "one start finds it": int((alone > best - SAME).sum()),
                "worst of the default, nats below": best - reached.min(),
                "worst of one start, nats below": best - alone.min(),
            }
        )
        family = GaussianMixture(table.schema, components=5, **settings)
        fits[name] = fit(family, rows, seed=seed)
        optima[name] = restart_report(fits[name], rows)
    counts = pd.DataFrame(found).set_index("model")
    least = int(counts["default finds it"].min())
    summary = (
        f"Of {len(seeds)} seeds the default restarts (64 short starts, the best 8 to the end) find the best known "
    )
    summary += (
        f"optimum in {least} at least, whichever the model; a single start does in "
        f"{', '.join(map(str, counts['one start finds it']))}."
    )
    report = Report("Restarts: which optimum?", summary=summary, seed=seed)
    report.data(table.name, rows.checksum, len(rows))
    caption = f"Fits within {SAME} nats in total of the best known optimum; ELBO of all {len(rows)} rows, raw units."
    report.table("seeds", counts, caption=caption)
    fit_section(report, fits, train=rows)
    caption = (
        "Distinct optima of one fit's eight restarts: how many ended there, total nats below the best, adjusted Rand."
    )
    report.table("optima", pd.concat(optima, names=["model", "place"]).droplevel("place"), caption=caption)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
