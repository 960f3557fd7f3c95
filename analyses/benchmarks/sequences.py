"""What is a recurrent VAE worth on melodies? Soprano lines of Bach's chorales in phrases of 32 sixteenth steps.

Chorales are split as their source splits them, so that no phrase of a test chorale is trained on. A token is a pitch,
a rest, or that the one before is held; ``--sustained`` writes the pitch again instead, which a chain of one step of
memory likes better. Both say the same of a phrase, so that their nats can be compared. All settings were chosen on the
validation phrases. Forgetful networks are told few of the tokens before, so that they ask z. Phrases of one chorale
are alike: ``chorale_dse`` is a difference's standard error over chorales.
"""

from collections.abc import Mapping
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from ppl_models import compare, fit, log_density, prepare
from ppl_models.datasets import Dataset, sequence_table
from ppl_models.evaluation import Density
from ppl_models.families import Family, MarkovChain, Mixture, NaiveBayes, SequenceVAE
from ppl_models.inference import Gradient, NaturalGradient, Objective, elbo_parts
from ppl_models.recurrent import Recurrent
from ppl_models.scripts import Quick, Seed, script

FILE = Path(__file__).parents[3] / "shared/data/music/jsb_chorales_satb_16th.npz"
STEPS, BAR = 32, 16
SMOOTHING, SIZES, FEW = (0.03, 0.1, 0.3, 1.0), (8, 32), NaturalGradient(restarts=1, starts=4)
PARTS = ("train", "valid", "test")
NETWORKS = {
    "VAE, flat": Recurrent(hidden=128, dropout=0.2),
    "VAE, conductor": Recurrent(hidden=128, dropout=0.2, bar=BAR),
    "VAE, flat, forgetful": Recurrent(hidden=128, dropout=0.2, forget=0.7),
    "VAE, conductor, forgetful": Recurrent(hidden=128, dropout=0.2, forget=0.7, bar=BAR),
}
Sustained = Annotated[bool, typer.Option("--sustained", help="Write a held pitch again at each step.")]


def phrases(data: Mapping[str, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole phrases of each chorale's soprano, (phrases, steps) pitches with −1 for a rest, and their chorales."""
    chorales = np.split(data[f"{part}_notes"][:, 0], np.cumsum(data[f"{part}_lengths"])[:-1])
    cut = [chorale[: len(chorale) // STEPS * STEPS].reshape(-1, STEPS) for chorale in chorales]
    return np.concatenate(cut), np.repeat(np.arange(len(cut)), [len(each) for each in cut])


def tokens(pitches: np.ndarray, *, sustained: bool) -> list[list[str]]:
    """Pitches as tokens."""
    named = np.where(pitches < 0, "rest", np.char.mod("%03d", pitches)).astype("<U4")
    held = np.zeros_like(pitches, dtype=bool)
    held[:, 1:] = (pitches[:, 1:] == pitches[:, :-1]) & (not sustained)
    return np.where(held, "hold", named).tolist()


def tables(data: Mapping[str, np.ndarray], *, sustained: bool) -> tuple[dict[str, Dataset], np.ndarray]:
    """The prepared phrases of each part, and the chorale of each test phrase."""
    found = {part: phrases(data, part) for part in PARTS}
    written = {part: tokens(pitches, sustained=sustained) for part, (pitches, _) in found.items()}
    vocabulary = sorted({token for part in written.values() for row in part for token in row})
    laid = {part: sequence_table(rows, vocabulary=vocabulary) for part, rows in written.items()}
    preparation = prepare(laid["train"].frame, laid["train"].schema)
    return {part: preparation(table.frame) for part, table in laid.items()}, found["test"][1]


def fitted(rows: Mapping[str, Dataset], *, seed: int, steps: int) -> dict[str, Family]:
    """Every model, fitted to the training phrases; of several smoothings and sizes the best on validation phrases."""
    schema, train, validation = (rows["train"].schema, rows["train"], rows["valid"])
    candidates = {
        "naive Bayes": [NaiveBayes(schema, smoothing=each) for each in SMOOTHING],
        "mixture": [Mixture(schema, components=k, smoothing=each) for k in SIZES for each in SMOOTHING],
        "Markov chain": [MarkovChain(schema, smoothing=each) for each in SMOOTHING],
    }
    found: dict[str, Family] = {}
    for name, some in candidates.items():
        fits = [fit(family, train, seed=seed, method=FEW).family for family in some]
        found[name] = max(fits, key=lambda family: log_density(family, validation).elpd)
    method = Gradient(steps=steps, check_every=100, patience=5, objective=Objective(warm_up=300))
    for name, network in NETWORKS.items():
        family = SequenceVAE(schema, latent=8, network=network)
        found[name] = fit(family, train, validation, seed=seed, method=method).family
    return found


def by_chorale(one: Density, other: Density, chorales: np.ndarray) -> tuple[float, float]:
    """The mean difference of two densities, nats a step, and its standard error over chorales."""
    sums = np.bincount(chorales, (one.values - other.values) / STEPS)
    sizes = np.bincount(chorales)
    mean = sums.sum() / sizes.sum()
    return mean, float(np.sqrt(((sums - mean * sizes) ** 2).sum() / (len(sizes) - 1) * len(sizes))) / sizes.sum()


def report(families: Mapping[str, Family], test: Dataset, chorales: np.ndarray, *, draws: int, seed: int) -> None:
    """Print held-out nats a step, beside the Markov chain, and what the networks' z is asked for."""
    densities = {name: log_density(family, test, draws=draws, seed=seed) for name, family in families.items()}
    table = compare(densities, reference="Markov chain")
    table[["elpd", "se", "diff", "dse", "mean_se", "rise"]] /= STEPS
    for name, density in densities.items():
        table.loc[name, ["chorale_diff", "chorale_dse"]] = by_chorale(density, densities["Markov chain"], chorales)
    for name in (name for name in families if name.startswith("VAE")):
        parts = elbo_parts(families[name], test, seed=seed)
        table.loc[name, ["elbo", "kl_a_phrase"]] = parts.elbo.mean / STEPS, parts.kl.mean
    columns = ["elpd", "se", "diff", "dse", "chorale_dse", "kind", "rise", "khat_high", "elbo", "kl_a_phrase"]
    print(pd.DataFrame(table[columns]).round(4).to_string())


def main(*, seed: Seed = 0, quick: Quick = False, data: Path = FILE, sustained: Sustained = False) -> None:
    """Print held-out nats a step of every model, higher is better."""
    begun = process_time()
    with np.load(data) as arrays:
        rows, chorales = tables(dict(arrays), sustained=sustained)
    families = fitted(rows, seed=seed, steps=60 if quick else 1500)
    print(", ".join(f"{part} {len(each)} phrases" for part, each in rows.items()), f"of {STEPS} steps")
    report(families, rows["test"], chorales, draws=20 if quick else 500, seed=seed)
    print(f"{process_time() - begun:.0f} CPU seconds")


if __name__ == "__main__":
    script(main)
