"""Can the numbers be trusted? Posteriors ranked against the truth they were simulated from, bounds from both sides."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import pandas as pd
import typer
from linear_vae import factor_analysis
from trust_cases import LINEAR_VAE, VAES, fitted, parameter_ranks

from ppl_models import Report
from ppl_models.evaluation import density_doubts
from ppl_models.inference import bound_ladder, latent_ranks, sandwich, simulate
from ppl_models.inference.simulation import DRAWS
from ppl_models.reports import calibration_section, ladder_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

Simulations = Annotated[int, typer.Option(min=1, help="Of each posterior.")]
Kept = Annotated[Path | None, typer.Option(help="Folder that keeps ranks, from which a broken run goes on.")]


def add_bounds(report: Report, simulations: int, *, seed: int, quick: bool) -> tuple[dict[str, pd.DataFrame], float]:
    """Add each VAE's ladder of held-out bounds and its bounds from both sides; the ranks of z, and the widest gap."""
    ranks, ladders, exact, lines = {}, {}, {}, {}
    for name in VAES:
        family, test = fitted(name, seed=seed, steps=200 if quick else 1500)
        for way, resampled in {"guide": False, "resampled": True}.items():
            ranks[f"{name}, {way}"] = latent_ranks(family, simulations, seed=seed, resampled=resampled)
        ladders[name] = bound_ladder(family, test, seed=seed, draws=200 if quick else 2000)
        found = sandwich(family, 20 if quick else 200, seed=seed)
        lines[name] = {"lower": found.elpd, "upper": found.elpd + found.gap, "gap": found.gap, "gap_se": found.gap_se}
        if name == LINEAR_VAE:
            exact[name] = factor_analysis(family, test)
            lines[name]["closed form"] = factor_analysis(family, simulate(family, len(found.values), seed=seed)[0])
        report.check("bounds from both sides", density_doubts(found), of=name)
    shown = "Held-out bounds by the number of draws, nats per row; dashed: the closed form."
    ladder_section(report, ladders, name="ladders", exact=exact, caption=shown)
    gaps = pd.DataFrame.from_dict(lines, orient="index").rename_axis("model")
    report.table("gaps", gaps, caption="Rows drawn by each VAE, between two bounds: nats a row, raw units.", digits=4)
    return ranks, float(gaps["gap"].abs().max())


def main(
    *,
    seed: Seed = 0,
    output_dir: OutputDir = Path("results/trust"),
    quick: Quick = False,
    simulations: Simulations = 200,
    kept: Kept = None,
) -> None:
    """Rank, count and bound."""
    started, report = (
        perf_counter(),
        Report("Trust: calibration, coverage, bounds from both sides", summary="", seed=seed),
    )
    number = 8 if quick else simulations
    of_z, gap = add_bounds(report, number, seed=seed, quick=quick)
    ranks = {"parameters": parameter_ranks(kept, simulations=number, seed=seed), "z": of_z}
    found = pd.concat([calibration_section(report, one, draws=DRAWS, name=name) for name, one in ranks.items()])
    held = found["90%"].groupby(lambda name: name.rsplit(", ")[-1]).agg(["min", "max"])
    ways = ", ".join(f"{line['min']:.1%} to {line['max']:.1%} ({way})" for way, line in held.iterrows())
    report.summary = f"90 % intervals hold the truth in {ways} of {number} simulations a posterior. "
    report.summary += f"Bounds from both sides are at most {gap:.3f} nats a row apart."
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
