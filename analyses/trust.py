"""Can the numbers be trusted? Posteriors ranked against the truth they were simulated from, bounds from both sides."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import pandas as pd
import typer

from ppl_models import VAE, GaussianMixture, NaiveBayes, Report, Schema, distributions, fit, load, nn, reports
from ppl_models.cli import OutputDir, Quick, Seed, script
from ppl_models.datasets import Column, prepare_split
from ppl_models.evaluation import calibration_summary
from ppl_models.inference import Gradient, calibration_ranks, latent_ranks, sandwich
from ppl_models.inference.simulation import DRAWS

LABEL = Column("group", "categorical", ("few", "many"))
MIXED = (Column("dollars", "real"), Column("visits", "count"), Column("way", "categorical", ("bus", "car", "foot")))
CONJUGATE = {
    "naive Bayes": (lambda: NaiveBayes(Schema(MIXED, label=LABEL)), False),
    "Gaussian mixture, mean-field guide": (lambda: GaussianMixture(Schema(MIXED[:1]), components=2), False),
    "Gaussian mixture, richer guide": (lambda: GaussianMixture(Schema(MIXED[:1]), components=2), True),
}
LINEAR = {"network": nn.Dense(()), "likelihoods": distributions.DecoderLikelihoods(scale="column")}
VAES = {
    "linear VAE": ("iris", {"latent": 2, **LINEAR}),
    "VAE of measures": ("wine", {"latent": 2}),
    "VAE of digits": ("digits_binary", {"latent": 8}),
}
Parts = Annotated[Path | None, typer.Option(help="Folder that keeps ranks, from which a broken run goes on.")]


def main(
    *, seed: Seed = 0, output_dir: OutputDir = Path("results/trust"), quick: Quick = False, parts: Parts = None
) -> None:
    """Rank, count and bound."""
    started, number = perf_counter(), 8 if quick else 240
    ranks = {
        name: calibration_ranks(
            make, rows=40, simulations=number, seed=seed, refine=refine, kept=parts and parts / f"{name}-{seed}.csv"
        )
        for name, (make, refine) in CONJUGATE.items()
    }
    gaps = []
    for name, (data, settings) in VAES.items():
        table = load(data)
        train = prepare_split(table.frame, table.schema, seed=seed)
        family = VAE(table.schema, **settings)
        fit(family, train.train, train.validation, seed=seed, method=Gradient(steps=200 if quick else 1500))
        for guide, resampled in (("guide", False), ("resampled", True)):
            ranks[f"{name}, {guide}"] = latent_ranks(family, number, seed=seed, resampled=resampled)
        found = sandwich(family, 20 if quick else 200, seed=seed)
        gaps.append({"model": name, "rows": len(found.values), "lower": found.elpd, "upper": found.elpd + found.gap})
        gaps[-1]["gap"] = found.gap
    table = pd.DataFrame({name: calibration_summary(found, DRAWS) for name, found in ranks.items()}).T.rename_axis(
        "posterior"
    )
    bounds = pd.DataFrame(gaps)
    wrong = list(table.index[table["p, uniform"] < 0.01])
    summary = f"Ranks are not uniform for {', '.join(wrong) or 'none'}. 90 % intervals of the others hold the truth in "
    others = table.drop(index=wrong)
    summary += f"{others['90%'].min():.1%} to {others['90%'].max():.1%} on average over their parameters. "
    summary += f"Bounds from both sides are at most {bounds['gap'].abs().max():.3f} nats a row apart."
    report = Report("Trust: calibration, coverage, bounds from both sides", summary=summary, seed=seed)
    report.table("calibration", table, caption="Shares of simulations; p-values times parameters.", digits=3)
    shown = "ECDF of each parameter's ranks less the uniform one; above it, then below: a posterior too narrow."
    report.figure("ranks", reports.rank_curves(ranks, draws=DRAWS), caption=shown, alt=shown)
    report.table("gaps", bounds, caption="Rows that each VAE drew: nats per row, raw units.", digits=4)
    report.write(output_dir, seconds=perf_counter() - started)
    print(summary)


if __name__ == "__main__":
    script(main)
