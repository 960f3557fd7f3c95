"""Which family describes a table best? All of them on five bundled tables, or on a table of your own."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import pandas as pd
import typer

import ppl_models as ppl
from ppl_models.datasets import Prepared, Table, prepare_split
from ppl_models.inference import Fit, Gradient
from ppl_models.nn import Dense
from ppl_models.reports import comparison_section, conclusion, replicate_section, verdict
from ppl_models.scripts import OutputDir, Quick, Seed, script

TABLES = ("wine", "iris", "breast_cancer", "fast_food_customers", "digits_binary")
SURE = "A lead is likely if its 95 % interval is clear of zero, and certain if it were so at twice the width."
SIZES, FOLDER = (1, 2, 3, 4, 6, 8, 12, 20), Path("results/densities")
Data = Annotated[Path | None, typer.Option(help="A CSV or Parquet file, instead of the bundled tables.")]
Label = Annotated[str | None, typer.Option(help="The column of that file that holds the class of a row.")]


def fit_all(table: Table, parts: Prepared, *, seed: int, quick: bool) -> dict[str, Fit]:
    """Every family that suits the columns; mixtures of the size with the best training ELBO."""
    schema, train = table.schema, parts.train
    mixtures = {"mixture": lambda size: ppl.Mixture(schema, components=size)}
    if train.complete and not any(schema.discrete):
        mixtures["full mixture"] = lambda size: ppl.GaussianMixture(schema, components=size, covariance="full")
    fits = {"naive Bayes, one class": ppl.fit(ppl.NaiveBayes(schema, labelled=False), train, seed=seed)}
    if schema.label is not None:
        fits["naive Bayes, labelled"] = ppl.fit(ppl.NaiveBayes(schema), train, seed=seed)
    for name, make in mixtures.items():
        tried = [ppl.fit(make(size), train, seed=seed) for size in SIZES[: 3 if quick else None] if size < len(train)]
        best = max(tried, key=lambda found: found.elbo)
        fits[f"{name} of {best.family.classes}"] = best
    shape = {"latent": min(max(len(schema.columns) // 2, 2), 8)}
    shape["network"] = Dense((256,) if schema.image_shape else (64, 64))
    for name, family in {"VAE": ppl.VAE(schema, **shape), "autoencoder": ppl.Autoencoder(schema, **shape)}.items():
        fits[name] = ppl.fit(family, train, parts.validation, seed=seed, method=Gradient(steps=200 if quick else 2000))
    return fits


def add_table(report: ppl.Report, table: Table, *, seed: int, quick: bool) -> pd.DataFrame:
    """Fit, compare and add one table's sections; its comparison."""
    parts = prepare_split(table.frame, table.schema, seed=seed, stratify=table.schema.label and table.schema.label.name)
    fits = fit_all(table, parts, seed=seed, quick=quick)
    rebuilt = fits.pop("autoencoder").family.reconstruction_log_likelihood(parts.test) + parts.test.log_scale
    densities = {one: ppl.log_density(fits[one].family, parts.test, seed=seed, method="fitted") for one in fits}
    held_out = parts.frames.test[list(table.schema.names)]
    sizes = f"{len(parts.train)} rows to train on, {len(parts.validation)} to validate, {len(parts.test)} held out"
    text = f"{table.source}; {sizes}. The autoencoder is no density: its log p(x | z = encoder(x)), "
    report.text(table.name, text + f"{rebuilt.mean():.2f} nats a row, compares with nothing here.")
    comparison = comparison_section(report, densities, fits, name=table.name, train=parts.train, held_out=held_out)
    replicate_section(report, fits[comparison.index[0]].family, held_out, seed=seed, name=table.name)
    return comparison.reset_index().assign(table=table.name)


def main(
    *, seed: Seed = 0, output_dir: OutputDir = FOLDER, quick: Quick = False, data: Data = None, label: Label = None
) -> None:
    """Compare held-out log densities of all families on each table."""
    started = perf_counter()
    tables = [ppl.load(name) for name in TABLES] if data is None else [Table.from_file(data, label=label)]
    report = ppl.Report("Densities: every family on every table", summary="", seed=seed)
    found = pd.concat([add_table(report, table, seed=seed, quick=quick) for table in tables], ignore_index=True)
    each = {name: lines.set_index("model") for name, lines in found.groupby("table", sort=False)}
    best = (f"{name}: {one.index[0]} ({one['elpd'].iloc[0]:.2f}, {verdict(one)})" for name, one in each.items())
    many = f"Best held-out log density, nats a row: {'; '.join(best)}.", SURE
    report.summary, report.sure = many if data is None else conclusion(found.set_index("model"))
    report.table("all", found.set_index("table"), caption="All tables: nats per row; compare within a table only.")
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
