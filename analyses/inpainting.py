"""What is under the hidden half of a digit? A VAE, a mixture and naive Bayes, told the other half of the pixels."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from hidden_pixels import gallery, parts

from ppl_models import VAE, Mixture, NaiveBayes, Report, compare, fit, log_density, prepare
from ppl_models.datasets import Dataset
from ppl_models.evaluation import comparison_doubts, density_doubts
from ppl_models.families import Family
from ppl_models.inference import Gradient, NaturalGradient, conditional_log_density
from ppl_models.nn import Dense
from ppl_models.reports import image_grid
from ppl_models.scripts import OutputDir, Quick, Seed, script

SHOWN = 10
Data = Annotated[Path | None, typer.Option(help="Folder of static MNIST, packed: some of it instead of small digits.")]


def models(train: Dataset, validation: Dataset, *, seed: int, quick: bool) -> dict[str, Family]:
    """The fitted families; the mixture has the number of components that validation rows like best."""
    schema, small = train.schema, train.schema.label is not None
    called = "naive Bayes, ten digits" if small else "naive Bayes, one class"
    found = {called: fit(NaiveBayes(schema, labelled=small), train, seed=seed).family}
    climb = NaturalGradient() if small and not quick else NaturalGradient(starts=2, restarts=1, tolerance=1e-4)
    families = [Mixture(schema, components=size) for size in ((20,) if quick else (20, 40, 80))]
    mixtures = [fit(family, train, seed=seed, method=climb).family for family in families]
    best = max(mixtures, key=lambda family: log_density(family, validation).elpd)
    vae = VAE(schema, latent=8 if small else 20, network=Dense((256,)))
    fit(vae, train, validation, seed=seed, method=Gradient(steps=300 if quick else 2000))
    return found | {f"the mixture of {best.classes}": best, "VAE": vae}


def main(
    *, seed: Seed = 0, output_dir: OutputDir = Path("results/inpainting"), quick: Quick = False, data: Data = None
) -> None:
    """Compare log p(hidden pixels | seen pixels) on held-out digits, and show what is drawn."""
    started, (schema, frames) = perf_counter(), parts(data, seed=seed)
    train, validation, test = map(prepare(frames[0], schema), frames)
    families = models(train, validation, seed=seed, quick=quick)
    names, random = np.array(schema.names), np.random.default_rng(seed).permutation(len(schema.names))
    hidden = {"bottom": np.arange(len(names))[len(names) // 2 :], "random": np.sort(random[: len(names) // 2])}
    report = Report("Inpainting: what is under the hidden half?", summary="", seed=seed)
    report.data("held-out digits", test.checksum, len(test))
    tables, settings = {}, {"seed": seed, "draws": 200 if quick else 2000}
    for half, pixels in hidden.items():
        given = np.delete(names, pixels).tolist()
        found = {name: conditional_log_density(each, test, given=given, **settings) for name, each in families.items()}
        tables[half] = compare(found, reference="VAE")
        report.check("the importance weights behind estimates", density_doubts(found["VAE"]), of=f"{half} half, VAE")
        report.check("the tails of differences", comparison_doubts(tables[half]), of=f"{half} half")
        others = tables[half].drop(index="VAE").itertuples()
        ahead = "; ".join(f"{row.Index} {-row.diff:.2f} (se {row.dse:.2f})" for row in others)
        report.summary += (
            f"Of the {half} half given the rest, the VAE's log probability less others', nats a digit: {ahead}. "
        )
        shown = gallery(families["VAE"], test[:SHOWN], pixels, seed=seed)
        text = f"Held-out digits, what is seen of them, and the {half} half drawn by the VAE given that."
        report.figure(half, image_grid(shown, columns=SHOWN), caption=text, alt=text)
    text = "Mean log p(hidden pixels | seen pixels), nats a digit, higher is better; exact but for the VAE, "
    text += "which has an estimate by importance draws whose Monte Carlo error is mean_se; diff and dse are paired."
    report.table("comparison", pd.concat(tables, names=["hidden"]), caption=text)
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
