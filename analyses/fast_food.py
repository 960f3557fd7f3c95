"""How many groups spend on fast food, and what does a week cost them? Mixtures of 1 to 6 normals against the truth."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from scipy import stats

from ppl_models import VAE, GaussianMixture, NaiveBayes, Report, fit, load, log_density, prepare, sample
from ppl_models.datasets import prepare_split
from ppl_models.evaluation import Density, compare
from ppl_models.inference import Gradient, density_curve, parameter_draws
from ppl_models.reports import check_section, comparison_section, density_overlay, parameter_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

DOLLARS = "dollars_per_week"
GROUPS = {"1": (40.0, 5.0), "2": (55.0, 7.0)}
TRUTH = {("weights", group): 0.5 for group in GROUPS}
TRUTH |= {("loc", group): loc for group, (loc, _) in GROUPS.items()}
TRUTH |= {("scale", group): scale for group, (_, scale) in GROUPS.items()}


def true_log_density(dollars: np.ndarray) -> np.ndarray:
    """The density that the customers were drawn from, nats a customer."""
    return np.logaddexp(*(stats.norm(*pair).logpdf(dollars) for pair in GROUPS.values())) - np.log(2)


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/fast_food"), quick: Quick = False) -> None:
    """Fit mixtures of 1 to 6 normals, naive Bayes and a VAE to dollars a week; report their held-out densities."""
    started = perf_counter()
    table = load("fast_food_spending")
    parts = prepare_split(table.frame, table.schema, seed=seed)
    sizes = range(1, 4 if quick else 7)
    mixtures = {f"mixture of {size}": GaussianMixture(table.schema, components=size) for size in sizes}
    fits = {name: fit(family, parts.train, seed=seed) for name, family in mixtures.items()}
    chosen = max(fits, key=lambda name: fits[name].elbo)
    fits["naive Bayes"] = fit(NaiveBayes(table.schema), parts.train, seed=seed)
    steps = Gradient(steps=300 if quick else 2500)
    fits["VAE"] = fit(VAE(table.schema, latent=2), parts.train, parts.validation, seed=seed, method=steps)
    densities = {name: log_density(found.family, parts.test, seed=seed) for name, found in fits.items()}
    held_out = parts.frames.test[DOLLARS].to_numpy()
    densities["true density"] = Density(true_log_density(held_out), "exact", parts.test.checksum, (DOLLARS,), (False,))
    gap = compare(densities, reference="true density").loc[chosen]
    report = Report(
        "Fast food: dollars a week",
        summary=f"By the training ELBO the customers are a {chosen} normals. Its held-out log density is "
        f"{gap['diff']:+.4f} nats a customer from the true density's, standard error {gap['dse']:.4f}.",
        sure=f"The 95 % interval of that difference is {gap['diff_low']:+.4f} to {gap['diff_high']:+.4f}; intervals of "
        "the groups' sizes, means and spreads are below.",
        seed=seed,
    )
    shown = {name: fits[name] for name in (chosen, "VAE")}
    sides = {"train": parts.train, "held_out": parts.frames.test}
    comparison_section(report, densities, shown, reference="true density", **sides)
    grid = pd.DataFrame({DOLLARS: np.linspace(20, 85, 261)})
    shown = dict.fromkeys(["mixture of 1", chosen, "VAE"])
    points = parts.preparation(grid)
    curves = {name: density_curve(fits[name].family, points, seed=seed, refine=parts.train) for name in shown}
    known = np.exp(true_log_density(grid[DOLLARS]))
    curves["true density"] = pd.DataFrame({"density": known, "low": np.nan, "high": np.nan})
    curves = {name: curve.assign(x=grid[DOLLARS]) for name, curve in curves.items()}
    caption = "Held-out customers under the fitted densities; a band holds 90 % of the posterior at each point."
    report.figure("densities", density_overlay(held_out, curves, label="dollars a week"), caption=caption, alt=caption)
    rows = [(name, found.elbo, densities[name].elpd, found.stop) for name, found in fits.items()]
    choice = pd.DataFrame(rows, columns=["model", "training ELBO", "held-out elpd", "ended"])
    report.table("sizes", choice, caption="The choice of the number of components, nats a customer.", digits=4)
    family, everyone = fits[chosen].family, prepare(table.frame, table.schema)(table.frame)
    whole = fit(GaussianMixture(table.schema, components=family.classes), everyone, seed=seed).family
    text = f"The {chosen} normals, fitted again to all {len(everyone)} customers, held-out ones among them."
    report.text("The groups", text)
    draws = parameter_draws(whole, 4000, seed=seed, refine=everyone)
    parameter_section(report, draws, truth=TRUTH if family.classes == 2 else None)
    replicates = sample(family, 500 * len(held_out), seed=seed)
    check_section(report, replicates, parts.frames.test, kinds=table.schema.kinds)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
