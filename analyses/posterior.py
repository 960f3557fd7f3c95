"""Is the mean-field posterior wide enough? NUTS on the same mixtures, and a richer guide, marginal by marginal."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ppl_models import GaussianMixture, Report, fit, load, prepare
from ppl_models.inference import in_raw_units, lay_beside, nuts_draws, parameter_draws
from ppl_models.reports.canvas import INK, colour, legend_below, panels
from ppl_models.scripts import OutputDir, Quick, Seed, script

COMPONENTS = {"fast food": ("fast_food_spending", 2), "iris": ("iris", 3)}
GUIDES = {"mean-field": "o", "richer": "^"}
CLOSE = 0.1  # of NUTS's sd, for means and for sds
ENOUGH = 1000  # effective draws, for an sd within a few per cent


def ratios(tables: dict[str, pd.DataFrame]) -> Figure:
    """The guides' sds over NUTS's, one panel a data set, one mark a marginal."""
    figure, axes = panels(len(tables), columns=2, height=3.2)
    for one, (name, table) in zip(axes, tables.items(), strict=True):
        places, kinds = pd.factorize(table["parameter"])
        x = places + table.groupby("parameter").cumcount() / np.bincount(places)[places] / 4
        for side, (guide, marker) in enumerate(GUIDES.items()):
            y = table[f"{guide} ratio"]
            one.plot(x + 0.4 * side - 0.3, y, marker, color=colour(side), markersize=5, label=guide)
        one.axhspan(1 - CLOSE, 1 + CLOSE, color="#dddddd", zorder=0, label=f"within {CLOSE:.0%}")
        one.axhline(1, color=INK, linewidth=0.8, zorder=1)
        one.set(xlim=(-0.5, len(kinds) - 0.5), ylim=(0, None), xticks=range(len(kinds)), xticklabels=kinds)
        one.set_title(name, fontsize=10)
    figure.supylabel("sd over NUTS's sd", fontsize=10)
    legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def told(name: str, table: pd.DataFrame) -> str:
    """The answer for one data set in words, with the worst figures."""
    ratio, off = table["richer ratio"], table["richer shift"].abs().max()
    farthest, narrow = ratio[(ratio - 1).abs().idxmax()], table["mean-field ratio"]
    least = " ".join(filter(None, table.loc[narrow.idxmin(), ["parameter", "entry", "component"]]))
    answer = "closes that" if off <= CLOSE and abs(farthest - 1) <= CLOSE else "does not close that"
    answer = answer if table["ess_sd"].min() >= ENOUGH else "is not to be judged by so few draws"
    return (
        f"{name}: the mean-field guide is too narrow, its sd below {1 - CLOSE:.0%} of NUTS's, in "
        f"{(narrow < 1 - CLOSE).sum()} of {len(table)} marginals, most in {least} ({narrow.min():.2f}); means are "
        f"off by up to {table['mean-field shift'].abs().max():.2f} sds. The richer guide {answer}: means within "
        f"{off:.3f} sds, worst ratio of sds {farthest:.3f}. "
    )


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/posterior"), quick: Quick = False) -> None:
    """Fit mixtures of two and three normals; lay their posteriors by three roads side by side."""
    started, tables, report = perf_counter(), {}, Report("Posteriors by another road", summary="", seed=seed)
    chains, each, warmup, draws = (16, 8, 16, 200) if quick else (64, 150, 80, 4000)
    for name, (source, components) in COMPONENTS.items():
        table = load(source)
        rows = prepare(table.frame, table.schema)(table.frame)
        family = fit(GaussianMixture(table.schema, components=components), rows, seed=seed).family
        nuts = in_raw_units(family, nuts_draws(family, rows, chains * each, seed=seed, chains=chains, warmup=warmup))
        both = [parameter_draws(family, draws, seed=seed, refine=refine) for refine in (None, rows)]
        tables[name] = lay_beside(nuts, dict(zip(GUIDES, both, strict=True))).astype({"ess_bulk": int, "ess_sd": int})
        caption = (
            f"{name}: mean and sd of NUTS, component summed out, raw units, {chains} chains of {each} draws; shift: "
        )
        caption += "of means, in NUTS's sds; ratio: of sds. The richer guide is full-rank, importance-resampled (k-hat "
        caption += f"{both[1].khat:.2f}) and moved ({both[1].accepted:.0%} of steps accepted)."
        report.table(source, tables[name], caption=caption)
        report.data(name, rows.checksum, len(rows))
        report.summary += told(name, tables[name])
    caption = "Sds over NUTS's, a mark for each marginal: the mean-field guide is too narrow where components overlap."
    report.figure("ratios", ratios(tables), caption=caption, alt=caption)
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
