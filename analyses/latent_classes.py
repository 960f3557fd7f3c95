"""How many kinds of slides and of students are there? Latent classes of answers, beside what poLCA printed of them."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ppl_models import Mixture, Report, fit, infer_schema, load, prepare, read
from ppl_models.datasets import Table
from ppl_models.inference import Selection, class_probabilities, parameter_draws, restart_report, select_components
from ppl_models.reports import profile_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FOLDER = Path(__file__).parents[2] / "shared/data/latent_class"
POLCA = {"carcinoma": [-524.4648, -317.2568, -293.705, -289.2858], "cheating": [np.nan, -440.0271, np.nan]}  # manual
SOURCE = "R package poLCA; codes 1 and 2 are read as no and yes"
COUNTED = ["n_parameters", "log_likelihood", "bic", "icl", "aic"]
HELD_OUT = ["components", "elbo", "elpd_kfold", "elpd_kfold_diff", "elpd_kfold_dse", "elpd_loo", "khat_high", "note"]


def tables() -> list[Table]:
    """The published tables where they are, else one that comes with the package."""
    if not FOLDER.is_dir():
        return [load("wrodl")]
    frames = {name: read(FOLDER / f"{name}.csv").drop(columns="GPA", errors="ignore") for name in POLCA}
    frames = {name: frame.replace({1: "no", 2: "yes"}) for name, frame in frames.items()}
    return [Table(name, frame, infer_schema(frame), SOURCE) for name, frame in frames.items()]


def add_table(report: Report, table: Table, *, seed: int, quick: bool) -> str:
    """Add a table's likelihoods, restarts, held-out densities and classes; the answer in words."""
    schema, name, rows = table.schema, table.name, prepare(table.frame, table.schema)(table.frame)
    published = POLCA.get(name, [np.nan] * 3)
    sizes = list(range(1, len(published) + 1))
    report.text(name, f"{len(rows)} rows of {len(schema.columns)} answers; {table.source}.")
    report.data(name, rows.checksum, len(rows))
    fits = [fit(Mixture(schema, components=size, estimate="maximum-likelihood"), rows, seed=seed) for size in sizes]
    counted = pd.DataFrame([[getattr(one, what) for what in COUNTED] for one in fits], columns=COUNTED)
    counted.insert(0, "classes", sizes)
    counted.insert(3, "poLCA", published)
    text = "Maximum likelihood by number of classes, in total nats, beside poLCA's manual; criteria: higher is better."
    report.table(f"{name}-likelihood", counted, caption=text, digits=4)
    optima = pd.concat({size: restart_report(one, rows) for size, one in zip(sizes, fits, strict=True)})
    optima.insert(0, "classes", optima.index.get_level_values(0))
    text = "Optima that restarts of maximum likelihood ended in; nats_below in total, adjusted_rand with the best."
    report.table(f"{name}-restarts", optima.reset_index(drop=True), caption=text)
    method = {"components": sizes[:2], "method": Selection(2, 25)} if quick else {"components": sizes}
    tried = select_components(table.frame, schema, make=Mixture, seed=seed, **method)
    text = "ELBO, held-out and leave-one-out density, nats a row; chosen: the fewest classes within 2 dse of the best."
    report.table(f"{name}-held-out", tried[HELD_OUT], caption=text, digits=4)
    chosen = int(tried["components"][tried["elpd_kfold_diff"] + 2 * tried["elpd_kfold_dse"] >= 0].min())
    family = fit(Mixture(schema, components=chosen), rows, seed=seed).family
    draws = parameter_draws(family, 4000, seed=seed, refine=None if quick else rows)
    profiles = profile_section(report, draws, name=f"{name}-classes")
    given = class_probabilities(family, rows)
    sure = given.max(axis=1).groupby(given.idxmax(axis=1).rename("class")).agg(["size", "mean", "min"]).reset_index()
    text = "How surely rows are classified: rows of which a class is the most probable, and how probable it is to them."
    report.table(f"{name}-sure", sure, caption=text)
    shares = ", ".join(f"{share:.0%}" for share in profiles["mean"].head(chosen))
    answer = f"{name}: {chosen} classes of {shares} of the rows (BIC: {sizes[counted['bic'].argmax()]}). "
    if name in POLCA:
        yes = profiles[profiles["answer"] == "yes"].groupby("component", sort=False)["mean"].mean()
        answer += f"They say yes to {', '.join(f'{share:.0%}' for share in yes)} of the questions. Log-likelihoods are "
        answer += f"within {(counted['log_likelihood'] - counted['poLCA']).abs().max():.0e} nats of poLCA's. "
    return answer


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/latent_classes"), quick: Quick = False) -> None:
    """Fit latent classes by maximum likelihood and by the posterior; say how many there are and what they answer."""
    started = perf_counter()
    report = Report("Latent classes", summary="" if FOLDER.is_dir() else f"No {FOLDER}. ", seed=seed)
    for table in tables():
        report.summary += add_table(report, table, seed=seed, quick=quick)
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
