"""How tight is each bound? ELBO, K-draw bounds and exact values side by side, in nats per row."""

from pathlib import Path
from time import perf_counter

import pandas as pd
from linear_vae import LINEAR, factor_analysis

from ppl_models import VAE, GaussianMixture, NaiveBayes, Report, fit, load
from ppl_models.datasets import prepare_split
from ppl_models.inference import Gradient, bound_ladder, log_evidence, refined_draws
from ppl_models.reports import ladder_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

CONJUGATE = {
    "wine: naive Bayes, labelled": ("wine", NaiveBayes),
    "iris: one full Gaussian": ("iris", lambda schema: GaussianMixture(schema, components=1, covariance="full")),
    "iris: two full Gaussians": ("iris", lambda schema: GaussianMixture(schema, components=2, covariance="full")),
    "fast food: two Gaussians": ("fast_food_spending", lambda schema: GaussianMixture(schema, components=2)),
}
EVIDENCE = ("model", "ELBO", "log evidence", "se", "gap", "kind", "khat")
NETWORKS = {"linear VAE": LINEAR, "VAE of 64-64": {}}


def evidence_row(name: str, *, seed: int, draws: int) -> dict[str, object]:
    """A conjugate family's training ELBO beside the log evidence, exact or by importance weights."""
    table, family = load(CONJUGATE[name][0]), CONJUGATE[name][1](load(CONJUGATE[name][0]).schema)
    rows = prepare_split(table.frame, table.schema, seed=seed).train
    elbo = fit(family, rows, seed=seed).elbo
    if family.labelled or family.classes == 1:
        value, error, kind, khat = log_evidence(family, rows), 0.0, "exact", float("nan")
    else:
        theta = refined_draws(family, rows, draws, seed=seed)
        value, error = theta.log_evidence / len(rows) + float(rows.log_scale.mean()), theta.evidence_se / len(rows)
        kind, khat = "importance", theta.khat
    return dict(zip(EVIDENCE, (name, elbo, value, error, elbo - value, kind, khat), strict=True))


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/elbo"), quick: Quick = False) -> None:
    """Lay bounds beside exact values: conjugate families on training rows, VAEs on held-out ones."""
    started, ladders, exact, used = perf_counter(), {}, {}, {}
    evidence = pd.DataFrame([evidence_row(name, seed=seed, draws=500 if quick else 4000) for name in CONJUGATE])
    for table in (load("iris"), load("wine")):
        parts = prepare_split(table.frame, table.schema, seed=seed)
        used |= {f"{table.name}, training": parts.train, f"{table.name}, held out": parts.test}
        for name, settings in NETWORKS.items():
            model, family = f"{table.name}: {name}", VAE(table.schema, latent=2, **settings)
            fit(family, parts.train, parts.validation, seed=seed, method=Gradient(steps=200 if quick else 1500))
            ladders[model] = bound_ladder(family, parts.test, seed=seed, draws=500 if quick else 5000)
            if settings is LINEAR:
                exact[model] = factor_analysis(family, parts.test)
    worst = max(abs(ladders[model]["elpd"].iloc[-1] - value) for model, value in exact.items())
    tight = evidence.query("kind == 'exact'")["gap"].abs().max()
    summary = f"Where the guide holds the posterior the ELBO is the log evidence, to {tight:.0e} nats a row. "
    summary += f"With all draws a linear VAE's bound is within {worst:.4f} nats a row of its closed form."
    report = Report("ELBO: how tight is each bound?", summary=summary, seed=seed)
    caption = "Nats per row of training. A mixture's evidence is by importance weights; its guide holds θ and z apart."
    report.table("evidence", evidence, caption=caption, digits=6)
    shown = "Held-out bounds by the number of draws, nats per row; dashed: the closed form of the linear VAE."
    ladder = ladder_section(report, ladders, name="ladder", exact=exact, caption=shown)
    ladder["exact"] = ladder["model"].map(exact)
    report.table("ladder", ladder, caption="The same as numbers; mean_se is a Monte Carlo error.", digits=4)
    for name, data in used.items():
        report.data(name, data.checksum, len(data))
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
