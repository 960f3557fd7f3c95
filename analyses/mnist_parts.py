"""What each model of ``mnist.py`` came to: fitted once, scored once by each number of draws, kept in files."""

import json
from pathlib import Path
from time import perf_counter

import torch
from mnist_models import family_of, fit, scores_of
from mnist_recipes import Score

import ppl_models as ppl
from ppl_models.datasets import Dataset
from ppl_models.evaluation import Density, load_density, save_density
from ppl_models.families import Family
from ppl_models.inference import bounds_by_draws


def run(name: str, rows: list[Dataset], *, place: Path, seed: int, quick: bool) -> None:
    """Fit a model and score it, unless that was done."""
    place.mkdir(parents=True, exist_ok=True)
    missing = [score for score in scores_of(name, quick=quick) if not (place / f"{score.name}.npz").is_file()]
    if not missing:
        return
    family = _fitted(name, rows, place=place, seed=seed, quick=quick)
    for method in dict.fromkeys(score.method for score in missing):
        started, draws = perf_counter(), [score.draws for score in missing if score.method == method]
        found = _scored(family, rows[2], seed=seed, draws=draws, method=method)
        note = {f"{method}_s": round(perf_counter() - started)}
        place.joinpath(f"{method}.json").write_text(json.dumps(note))
        for number, density in found.items():
            save_density(density, place / f"{Score(method, number).name}.npz")


def kept(name: str, place: Path, *, quick: bool) -> tuple[dict[str, Density], dict[str, object]]:
    """The densities of a model by name and draws, and the facts of its fit and its scores' seconds."""
    scores = scores_of(name, quick=quick)
    densities = {f"{name}{score.suffix}": load_density(place / f"{score.name}.npz") for score in scores}
    facts = {}
    for note in ("fit", *dict.fromkeys(score.method for score in scores)):
        facts |= json.loads((place / f"{note}.json").read_text())
    return densities, facts


def _fitted(name: str, rows: list[Dataset], *, place: Path, seed: int, quick: bool) -> Family:
    """The model as it was kept, or fitted now and kept."""
    if (place / "fit.json").is_file():
        family = family_of(name, rows[0].schema)
        family.load_state_dict(torch.load(place / "family.pt", weights_only=True))
        return family.eval()
    found = fit(name, rows, seed=seed, quick=quick)
    facts = {"train_elbo": found.elbo, "fit_s": round(found.seconds), "end": found.stop}
    found.history.to_csv(place / "history.csv", index=False)
    torch.save(found.family.state_dict(), place / "family.pt")
    place.joinpath("fit.json").write_text(json.dumps(facts))
    return found.family


def _scored(family: Family, rows: Dataset, *, seed: int, draws: list[int], method: str) -> dict[int, Density]:
    """The held-out density, or its bounds by each number of draws."""
    if method == "exact":
        return {0: ppl.log_density(family, rows)}
    return bounds_by_draws(family, rows, seed=seed, draws=draws, method=method)
