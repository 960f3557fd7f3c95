"""Static MNIST: naive Bayes, Bernoulli mixtures and VAEs on one scale, held out, and what each ingredient is worth.

What a model came to is kept in ``--parts`` as soon as it is there, so that a run that was cut goes on where it
stopped; ``--only`` runs some models alone, in several processes if wanted.
"""

import warnings
from pathlib import Path
from time import perf_counter
from typing import Annotated

import pandas as pd
import typer
from mnist_models import EXACT, tables
from mnist_parts import kept, run
from mnist_recipes import LONG, VAES
from mnist_tables import gains

from ppl_models import Report, compare
from ppl_models.errors import InputError
from ppl_models.inference import FitWarning
from ppl_models.reports.figures import elbo_curves
from ppl_models.scripts import OutputDir, Quick, Seed, script

FOLDER = Path(__file__).parents[2] / "shared/data/mnist_static"
NAMES = (*EXACT, *VAES)
PUBLISHED = (
    "Published on the same rows: 89.78 for 784-400-40, the number of draws not known (Rezende and Mohamed 2015 have "
    "89.9); 88.71 for 200-200-50 and 87.10 by 50 draws in training, scored by 5,000 draws (Burda, Grosse and "
    "Salakhutdinov 2016, table 3)."
)
Only = Annotated[
    list[str] | None, typer.Option(help="A model to run; may be repeated. All but the longest by default.")
]
Parts = Annotated[Path, typer.Option(help="Folder that keeps what each model came to.")]
Data = Annotated[Path, typer.Option(help="Folder of the three packed files; 8 by 8 digits where it is missing.")]


def main(
    *,
    seed: Seed = 0,
    output_dir: OutputDir = Path("results/mnist"),
    quick: Quick = False,
    data: Data = FOLDER,
    parts: Parts = Path("results/mnist-parts"),
    only: Only = None,
) -> None:
    """Fit and score each model that is not kept yet, and write the table of all."""
    started, names = perf_counter(), only or [name for name in NAMES if name not in LONG]
    if unknown := [name for name in names if name not in NAMES]:
        raise InputError(f"--only: expected some of {', '.join(NAMES)}, got {unknown[0]!r}")
    warnings.simplefilter("ignore", FitWarning)  # the limit on passes is part of a recipe
    source, rows = tables(data, seed=seed)
    places = {name: parts / f"{rows[2].checksum[:8]}-{seed}-{quick}" / name for name in names}
    for name, place in places.items():
        run(name, rows, place=place, seed=seed, quick=quick)
    found = {name: kept(name, place, quick=quick) for name, place in places.items()}
    densities = {name: density for named, _ in found.values() for name, density in named.items()}
    table = compare(densities)
    best = table.iloc[0]
    text = f"On held-out rows of {source} {table.index[0]} is ahead, {best['elpd']:.2f} nats a row ({best['kind']})."
    report = Report("MNIST: what is each model, and each ingredient, worth?", summary=text, seed=seed)
    for name, part in (("training", rows[0]), ("held out", rows[2])):
        report.data(f"{source}, {name}", part.checksum, len(part))
    report.table("comparison", table, caption=f"Nats per row, higher is better. {PUBLISHED}", digits=4)
    facts = pd.DataFrame({name: facts for name, (_, facts) in found.items()}).T.rename_axis("model")
    report.table("fits", facts, caption="Training ELBO, nats per row; seconds of fitting and of scoring; how it ended.")
    worth = gains(densities)
    caption = "What each VAE of the plain one's network has over it, nats per row, paired over held-out rows."
    report.table("gains", worth, caption=caption)
    curves = {name: pd.read_csv(places[name] / "history.csv") for name in names if name in VAES}
    if curves:
        told = "Training and validation ELBO over the steps; the state of the best validation is kept."
        report.figure("curves", elbo_curves(curves), caption=told, alt="Learning curves of the VAEs.")
    print(table.to_string(), worth.to_string(index=False), sep="\n\n")
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
