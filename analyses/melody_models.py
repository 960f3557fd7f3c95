"""What ``melodies.py`` fits: every family by settings that were chosen on validation phrases."""

from collections.abc import Mapping

import pandas as pd

from ppl_models import Mixture, NaiveBayes, fit, log_density
from ppl_models.datasets import Dataset
from ppl_models.datasets.notes import STEPS_PER_BAR
from ppl_models.families import Family, MarkovChain, SequenceVAE
from ppl_models.inference import Fit, Gradient, NaturalGradient, Objective
from ppl_models.recurrent import Recurrent

SMOOTHING, SIZES, CLIMB = (0.03, 0.1, 0.3, 1.0), (4, 16, 48), NaturalGradient(restarts=1, starts=4)
LATENT, FORGET = 16, (0.0, 0.5)
LIGHT = 0.2  # the KL's weight where codes are to say more: below 1, as in Roberts et al. (2018)
CHAIN, PATHS = "Markov chain", "VAE, light KL"
DECODERS = {"flat": None, "hierarchical": STEPS_PER_BAR}


def fitted(train: Dataset, validation: Dataset, *, seed: int, quick: bool) -> dict[str, Fit]:
    """The best fits by validation phrases: of smoothings and sizes, and of networks told all tokens before or half."""
    schema, some = train.schema, slice(1 if quick else None)
    smoothings, sizes, forgets, bars = SMOOTHING[some], SIZES[some], FORGET[quick:], list(DECODERS.values())[some]
    exact = {
        "naive Bayes": [NaiveBayes(schema, smoothing=each) for each in smoothings],
        "mixture": [Mixture(schema, components=size, smoothing=each) for size in sizes for each in smoothings],
        CHAIN: [MarkovChain(schema, smoothing=each) for each in smoothings],
    }
    found = {
        name: best([fit(one, train, seed=seed, method=CLIMB) for one in candidates], validation)
        for name, candidates in exact.items()
    }
    sides = {"train": train, "validation": validation, "seed": seed, "quick": quick}
    for name, bar in DECODERS.items():
        found[f"VAE, {name}"] = best([vae(bar, forget, kl=1.0, **sides) for forget in forgets], validation)
    found[PATHS] = best([vae(bar, FORGET[-1], kl=LIGHT, **sides) for bar in bars], validation)
    return found


def vae(
    bar: int | None, forget: float, *, kl: float, train: Dataset, validation: Dataset, seed: int, quick: bool
) -> Fit:
    """A sequence VAE, flat or with a conductor over bars, told all tokens before but a share."""
    network = Recurrent(hidden=16 if quick else 64, dropout=0.2, forget=forget, bar=bar)
    steps = {"steps": 40, "check_every": 20} if quick else {"steps": 600, "check_every": 50}
    climb = Gradient(**steps, patience=6, learning_rate=6e-3, objective=Objective(kl=kl, warm_up=steps["steps"] // 3))
    return fit(SequenceVAE(train.schema, latent=LATENT, network=network), train, validation, seed=seed, method=climb)


def best(fits: list[Fit], validation: Dataset) -> Fit:
    """The fit of the highest density, or bound by 100 draws, of validation phrases."""
    return max(fits, key=lambda found: log_density(found.family, validation, seed=0, draws=100).elpd)


def judges_of(fits: Mapping[str, Fit], validation: Dataset) -> dict[str, Family]:
    """The chain, and of the VAEs that do not decode the paths the one of the highest bound of validation phrases."""
    names = [f"VAE, {name}" for name in DECODERS]
    vae = best([fits[name] for name in names], validation)
    return {name: fits[name].family for name in [CHAIN, *names] if name == CHAIN or fits[name] is vae}


def settings(fits: Mapping[str, Fit]) -> pd.Series:
    """What was chosen, in words."""
    networks = {name: found.family.recurrent for name, found in fits.items() if name.startswith("VAE")}
    told = {
        name: f"{'flat' if one.bar is None else 'hierarchical'}, forget {one.forget}" for name, one in networks.items()
    }
    exact = {name: found.family for name, found in fits.items() if name not in told}
    for name, family in exact.items():
        size = f"{family.classes} components, " if family.classes > 1 else ""
        told[name] = f"{size}smoothing {family.likelihoods.smoothing}"
    return pd.Series(told, name="chosen")
