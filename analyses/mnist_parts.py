"""What each model of ``mnist.py`` came to: computed once, kept in files, read from there."""

import json
from pathlib import Path
from time import perf_counter

from mnist_models import VAES, fit

import ppl_models as ppl
from ppl_models.datasets import Dataset
from ppl_models.evaluation import Density, load_density, save_density
from ppl_models.inference import bounds_by_draws


def run(name: str, rows: list[Dataset], *, place: Path, seed: int, quick: bool) -> None:
    """Fit and score a model, and keep what it came to: the densities first, then the facts that say all is there."""
    found, started = fit(name, rows, seed=seed, quick=quick), perf_counter()
    draws = VAES[name].scored if name in VAES else ()
    draws = draws[:1] if quick else draws
    bounds = bounds_by_draws(found.family, rows[2], seed=seed, draws=draws) if draws else {}
    for number, density in (bounds or {0: ppl.log_density(found.family, rows[2])}).items():
        save_density(density, place / f"{number}.npz")
    facts = {"train_elbo": found.elbo, "fit_s": round(found.seconds), "score_s": round(perf_counter() - started)}
    found.history.to_csv(place / "history.csv", index=False)
    place.joinpath("facts.json").write_text(json.dumps(facts | {"end": found.stop}))


def kept(name: str, place: Path) -> tuple[dict[str, Density], dict[str, object]]:
    """The densities of a model by name and number of draws, and its facts."""
    files = sorted(place.glob("*.npz"), key=lambda file: int(file.stem))
    named = {f"{name} | {file.stem} draws" if file.stem != "0" else name: load_density(file) for file in files}
    return named, json.loads(place.joinpath("facts.json").read_text())
