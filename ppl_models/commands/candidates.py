"""Which families suit a table, in which sizes; fitted side by side, each size kept or left by rows held out for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from joblib import Parallel, cpu_count, delayed

from ppl_models.commands.options import grid, make_family
from ppl_models.datasets import Dataset, Schema
from ppl_models.errors import InputError
from ppl_models.families import Amortised, ClassProduct, Exact
from ppl_models.inference import CollapseError, Fit, Gradient, NaturalGradient, fit, load_fit, log_density, save_fit

SIZES, QUICK_SIZES = "1,2,3,4,6,8,12,16", "1,2,3"
WIDEST = 30  # columns that vary together
DRAWS = 100  # behind the bound by which sizes are chosen
QUICK_STEPS = 200
WORTH_PROCESSES = 8


def suitable(schema: Schema, rows: int, *, quick: bool = False) -> dict[str, list[str]]:
    """The families that suit some columns: by name, the settings to choose among.

    Args:
        schema: what the columns are.
        rows: to be fitted to.
        quick: whether to try few sizes.
    """
    sizes = ",".join(size for size in (QUICK_SIZES if quick else SIZES).split(",") if int(size) * 5 <= rows) or "1"
    together = len(schema.of_kind("real", "positive"))
    found = {"naive Bayes, one class": "naive-bayes: labelled=False"}
    if schema.label is not None:
        found["naive Bayes, labelled"] = "naive-bayes"
    found["mixture"] = f"mixture: components={sizes}"
    if 2 <= together <= WIDEST:
        found["mixture, full covariances"] = f"mixture: components={sizes} covariance=full"
    latents = "2" if quick else ",".join(str(size) for size in (1, 2, 4, 8) if size <= max(len(schema.columns) // 2, 1))
    if schema.sequence:
        found["Markov chain"] = "markov-chain"
        found["sequence VAE"] = f"sequence-vae: latent={latents}"
        return {name: grid(told) for name, told in found.items()}
    width = "256" if schema.image_shape else "64,64"
    found["VAE"] = f"vae: latent={latents} network.hidden={width}"
    return {name: grid(told) for name, told in found.items()}


@dataclass(frozen=True)
class Contest:
    """Rows that candidates are fitted to and chosen by, and how.

    Attributes:
        schema: what the columns are.
        train: the rows to be fitted to.
        validation: the rows by which networks stop and sizes are chosen.
        folder: where each fit is kept.
        seed: of everything.
        quick: whether networks are given few steps.
    """

    schema: Schema
    train: Dataset
    validation: Dataset
    folder: Path
    seed: int
    quick: bool = False

    def run(self, candidates: Mapping[str, Sequence[str]], *, jobs: int | None = None) -> dict[str, tuple[str, Fit]]:
        """Fit all that are not kept yet, and choose the settings of each name by the log density of validation rows.

        Args:
            candidates: by name, the settings to choose among.
            jobs: processes of one thread each; None for as many as there are cores.

        Returns:
            By name, the settings and their fit; names of which no fit has a finite score are left out.

        Raises:
            InputError: settings that do not suit the rows.
        """
        every = [
            (told, self.path_of(told)) for told in dict.fromkeys(each for some in candidates.values() for each in some)
        ]
        left = [one for one in every if not one[1].exists()]
        for told, _ in left:
            make_family(told, self.schema).check(self.train)
        number = jobs or (cpu_count() if len(left) >= WORTH_PROCESSES else 1)
        Parallel(n_jobs=number)(delayed(_fit)(self, told, path) for told, path in left)
        found = {}
        for name, some in candidates.items():
            fits = {told: load_fit(self.path_of(told)) for told in some if self.path_of(told).stat().st_size}
            scores = {told: validated(one, self.validation, seed=self.seed) for told, one in fits.items()}
            best = max(scores, key=scores.__getitem__, default=None)
            if best is not None and math.isfinite(scores[best]):
                found[name] = (best, fits[best])
        return found

    def path_of(self, told: str) -> Path:
        """Where the fit of some settings is kept.

        Args:
            told: the settings.
        """
        slug = "".join(letter if letter.isalnum() else "-" for letter in told)
        return self.folder / f"{slug}.safetensors"


def _fit(contest: Contest, told: str, path: Path) -> None:
    """Fit one candidate and keep it; an empty file stands for one that has no fit, a likelihood without bound."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    family = make_family(told, contest.schema)
    conjugate = isinstance(family, ClassProduct)
    method = NaturalGradient() if conjugate else Gradient(steps=QUICK_STEPS) if contest.quick else Gradient()
    try:
        save_fit(fit(family, contest.train, contest.validation, seed=contest.seed, method=method), path)
    except CollapseError:
        path.touch()
    finally:
        torch.set_num_threads(threads)


def validated(found: Fit, validation: Dataset | None, *, seed: int) -> float:
    """What fits are chosen by: the log density of validation rows, of all processes' where there are several.

    Args:
        found: the fit.
        validation: rows held out for the choice; None for the ELBO, which families without a density have anyhow.
        seed: of a bound's draws.

    Returns:
        Nats per row, raw units, higher is better.
    """
    if validation is None or not isinstance(found.family, Exact | Amortised):
        return found.elbo
    scores = log_density(found.family, validation, seed=seed, draws=DRAWS).values
    return float(validation.summed(torch.tensor(float(scores.sum()), dtype=torch.float64))) / validation.all_rows


def require_found(found: Mapping[str, object], candidates: Mapping[str, object]) -> None:
    """Refuse a contest without a single fit.

    Args:
        found: the fits.
        candidates: what was tried.

    Raises:
        InputError: there is none.
    """
    if not found:
        raise InputError(f"families: expected one that can be fitted, got none of {', '.join(candidates)}")
