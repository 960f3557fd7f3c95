"""Does a comparison's 95 % interval hold the true difference 95 % of the time? Pairs whose difference is known."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from scipy import stats
from scipy.integrate import quad

from ppl_models import Report
from ppl_models.evaluation import mean_interval, tail_khat
from ppl_models.scripts import OutputDir, Quick, Seed, script

ROWS = (100, 400)
NORMAL, STUDENT, LAPLACE = stats.norm(), stats.t(5), stats.laplace()
WIDE = stats.norm(0.0, 1.5)
SHIFT = float(np.sqrt(2 * np.log(1.5) + 1 / 1.5**2 - 1))  # moves a normal as far from the truth as WIDE is
PAIRS = {
    "equal: shifted left and right": (NORMAL, stats.norm(0.3), stats.norm(-0.3)),
    "equal: shifted, and too wide": (NORMAL, stats.norm(SHIFT), WIDE),
    "a shift": (NORMAL, stats.norm(0.1), NORMAL),
    "too wide": (NORMAL, WIDE, NORMAL),
    "too narrow": (NORMAL, stats.norm(0.0, 0.7), NORMAL),
    "normal for Laplace": (LAPLACE, stats.norm(0.0, LAPLACE.std()), LAPLACE),
    "exponential for gamma": (stats.gamma(3), stats.expon(0, 3), stats.gamma(3)),
    "normal for log-normal, shifted": (stats.lognorm(0.5), stats.norm(1.0, 0.7), stats.norm(1.3, 0.7)),
    "beyond: normal for Student's t of 5": (STUDENT, stats.norm(0.0, STUDENT.std()), STUDENT),
}


def difference(truth: stats.rv_continuous, one: stats.rv_continuous, other: stats.rv_continuous) -> float:
    """E[log one(x) − log other(x)] under the truth, nats, by quadrature over its probabilities."""
    ends = truth.ppf([1e-14, 0.5]), truth.isf([0.5, 1e-14])
    gain = [quad(lambda x: truth.pdf(x) * (one.logpdf(x) - other.logpdf(x)), *end, limit=500)[0] for end in ends]
    return sum(gain)


def coverage(name: str, rows: int, repeats: int, *, seed: int) -> dict[str, object]:
    """How often intervals from so many rows hold the truth, and the pair is called different."""
    truth, one, other = PAIRS[name]
    x = truth.rvs((repeats, rows), random_state=np.random.default_rng(seed))
    values, expected = one.logpdf(x) - other.logpdf(x), difference(truth, one, other)
    low, high = mean_interval(values)
    plain, error = values.mean(1), 1.96 * values.std(1, ddof=1) / rows**0.5
    held = (low <= expected) & (expected <= high)
    return {
        "pair": name,
        "rows": rows,
        "difference": expected,
        "coverage": held.mean(),
        "se": (held.mean() * (1 - held.mean()) / repeats) ** 0.5,
        "diff ± 1.96 dse": (np.abs(plain - expected) <= error).mean(),
        "called different": ((low > 0) | (high < 0)).mean(),
        "width ratio": ((high - low) / (2 * error)).mean(),
        "khat above 0.5": (tail_khat(values[:500]) > 0.5).mean(),
    }


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/comparisons"), quick: Quick = False) -> None:
    """Draw many tables of each pair, and count."""
    started, repeats = perf_counter(), 1000 if quick else 4000
    found = pd.DataFrame([coverage(name, rows, repeats, seed=seed) for name in PAIRS for rows in ROWS])
    within = found[~found["pair"].str.startswith("beyond")]
    equal = found[found["pair"].str.startswith("equal")]
    summary = f"Intervals of comparisons hold the truth in {within['coverage'].min():.1%} to "
    summary += f"{within['coverage'].max():.1%} of {repeats:,} tables a pair, plain ones from "
    summary += f"{within['diff ± 1.96 dse'].min():.1%}; equal pairs are called different in at most "
    summary += f"{equal['called different'].max():.1%}. Beyond them: {found['coverage'].min():.1%}, flagged or not."
    report = Report("Comparisons: does their interval hold the truth?", summary=summary, seed=seed)
    caption = (
        "Mean differences of log densities, nats per row. khat above 0.5: share of tables whose interval is flagged."
    )
    report.table("coverage", found, caption=caption, digits=3)
    report.write(output_dir, seconds=perf_counter() - started)
    print(summary)


if __name__ == "__main__":
    script(main)
