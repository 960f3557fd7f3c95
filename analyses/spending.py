"""Do two groups eat out, as the lecture has it? Dollars of real households, zeros among them, on one honest scale."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

from ppl_models import Mixture, Report, compare, fit, load, prepare, read
from ppl_models.evaluation import Density
from ppl_models.inference import NaturalGradient
from ppl_models.reports import comparison_section
from ppl_models.reports.amounts import Amounts, amount_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FILE = Path(__file__).parents[2] / "shared/data/food_spending/cex5.csv"
SPENDING, KINDS = Amounts("spends", "dollars"), {"log-normal": "positive", "normal": "real"}
ONE, TWO = "1 log-normal", "2 normals"
EDGES = 0.1 * 1.25 ** (np.arange(56) + np.arange(4)[:, None] / 4)  # dollars, of bins that begin at four places
METHOD = NaturalGradient(restarts=2, starts=8, tolerance=1e-5)


def verdict(table: pd.DataFrame) -> str:
    """The models that the single log-normal leads or trails by more than two standard errors."""
    sides = {"leads": table["diff"] < -2 * table["dse"], "trails": table["diff"] > 2 * table["dse"]}
    return " and ".join(f"{side} {', '.join(table.index[far]) or 'none'}" for side, far in sides.items())


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/spending"), quick: Quick = False) -> None:
    """Compare mixtures of normals on dollars and on their logarithm, every household held out once."""
    started, found = perf_counter(), FILE.is_file()
    name, unit = ("foodaway", "dollars a month and person") if found else ("dollars_per_week", "dollars a week")
    table = read(FILE).drop_duplicates("id", ignore_index=True) if found else load("fast_food_spending").frame
    frame = SPENDING.frame(table[name])
    families = {
        f"{size} {name}{'s' * (size > 1)}": Mixture(SPENDING.schema(kind), components=size)
        for name, kind in KINDS.items()
        for size in range(1, 3 if quick else 7)
    }
    exact, coarse = ({name: np.empty(len(frame)) for name in families} for _ in range(2))
    for train, test in KFold(2 if quick else 5, shuffle=True, random_state=seed).split(frame):
        rows = frame.iloc[test]
        for name, family in families.items():
            fit(family, prepare(frame.iloc[train], family.schema)(frame.iloc[train]), seed=seed, method=METHOD)
            exact[name][test] = SPENDING.log_density(family, rows).values
            coarse[name][test] = np.mean([SPENDING.log_mass(family, rows, edges=each).values for each in EDGES], 0)
    held_out = ("exact", family.preparation(frame).checksum)
    exact = {name: Density(values, *held_out, ("spends", "dollars"), (True, False)) for name, values in exact.items()}
    coarse = {name: Density(values, *held_out, ("bin",), (True,)) for name, values in coarse.items()}
    text = "" if found else f"No {FILE}: the lecture's customers. "
    report = Report("Spending: do two groups eat out?", summary=text, seed=seed)
    text = "A row is the first interview of a household, held out once: a mass at zero and a density above it. What "
    report.text("One scale", text + "normals give to less than nothing is taken from them, and the rest scaled up.")
    table, binned = comparison_section(report, exact, {}, reference=ONE), compare(coarse, reference=ONE)
    often = ", ".join(f"{value:g} ({count} times)" for value, count in frame["dollars"].value_counts().head(5).items())
    text = f"Amounts are round, most often {often}, and a density may stand on them. Here the models are scored by the "
    text += (
        "probability of zero or of an amount's bin, a quarter wide, the mean over four places to begin: nats a row. "
    )
    text += "Such bins hide most of the rounding, and still show the two groups of the lecture's customers."
    report.table("bins", binned, caption=text, digits=4)
    best = table.index.drop(ONE)[0]
    shown = {name: families[name] for name in dict.fromkeys((ONE, TWO, best))}
    amount_section(report, SPENDING, shown, held_out=rows, everyone=frame, unit=unit, seed=seed)
    gap = {name: f"{-table['diff'][name]:+.3f} nats per row (dse {table['dse'][name]:.3f})" for name in shown}
    text = f"{frame['dollars'].isna().mean():.1%} of {len(frame)} rows are zero. Held out, one log-normal beside them "
    text += f"scores {gap[TWO]} against the lecture's two normals, {gap[best]} against {best}, the best other. By two "
    text += f"errors or more it {verdict(table)}; where only an amount's bin counts, it {verdict(binned)}."
    if found and table["diff"][best] > 2 * table["dse"][best] and binned["diff"][best] < 2 * binned["dse"][best]:
        text += f" What {best} gain is finer than such bins: they stand on round amounts."
    report.summary += text
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
