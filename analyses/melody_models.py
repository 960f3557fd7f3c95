"""What ``melodies.py`` fits: every family by settings that were chosen on validation phrases."""

from collections.abc import Mapping

from melody_paths import PITCHES, decoded_tokens

from ppl_models import Mixture, NaiveBayes, fit, log_density
from ppl_models.datasets import Dataset
from ppl_models.datasets.notes import STEPS_PER_BAR
from ppl_models.families import Family, MarkovChain, SequenceVAE
from ppl_models.inference import Fit, Gradient, NaturalGradient, Objective, encode
from ppl_models.recurrent import Recurrent

SMOOTHING, SIZES, CLIMB = (0.03, 0.1, 0.3, 1.0), (4, 16, 48), NaturalGradient(restarts=1, starts=4)
LATENT, FORGET = 16, (0.0, 0.5)
LIGHT, STEPS = 0.05, 1000  # the KL's weight where codes are to say more: below 1, as in Roberts et al. (2018)
CHAIN, SOUNDING, PATHS = "Markov chain", "Markov chain, sounding", "VAE, light KL"
EXACT = ("naive Bayes", CHAIN, SOUNDING)  # in one step
DECODERS = {"flat": None, "hierarchical": STEPS_PER_BAR}
WALKED = ((None, 0.5), (None, 0.8), (STEPS_PER_BAR, 0.8))  # bar and forget of the VAEs that may decode the paths


def fitted(train: Dataset, validation: Dataset, *, seed: int, quick: bool) -> dict[str, Fit]:
    """The best fits by validation phrases, of smoothings and sizes, and of networks told all tokens before or half.

    The VAE that decodes the paths is the one whose codes give most of the validation phrases' notes back.
    """
    schema, some = train.schema, slice(1 if quick else None)
    smoothings, sizes, forgets = SMOOTHING[some], SIZES[some], FORGET[quick:]
    exact = {
        "naive Bayes": [NaiveBayes(schema, smoothing=each) for each in smoothings],
        "mixture": [Mixture(schema, components=size, smoothing=each) for size in sizes for each in smoothings],
        CHAIN: [MarkovChain(schema, smoothing=each) for each in smoothings],
    }
    found = {
        name: best([fit(one, train, seed=seed, method=CLIMB) for one in candidates], validation, seed=seed)
        for name, candidates in exact.items()
    }
    sides = {"train": train, "validation": validation, "seed": seed, "quick": quick}
    for name, bar in DECODERS.items():
        found[f"VAE, {name}"] = best([vae(bar, forget, kl=1.0, **sides) for forget in forgets], validation, seed=seed)
    walked = [vae(bar, forget, kl=LIGHT, **sides) for bar, forget in WALKED[some]]
    found[PATHS] = max(walked, key=lambda one: notes_kept(one.family, validation))
    return found


def vae(
    bar: int | None, forget: float, *, kl: float, train: Dataset, validation: Dataset, seed: int, quick: bool
) -> Fit:
    """A sequence VAE, flat or with a conductor over bars, told all tokens before but a share."""
    network = Recurrent(hidden=16 if quick else 64, dropout=0.2, forget=forget, bar=bar)
    steps = {"steps": 40, "check_every": 20} if quick else {"steps": 600 if kl == 1 else STEPS, "check_every": 50}
    climb = Gradient(**steps, patience=6, learning_rate=6e-3, objective=Objective(kl=kl, warm_up=steps["steps"] // 3))
    return fit(SequenceVAE(train.schema, latent=LATENT, network=network), train, validation, seed=seed, method=climb)


def best(fits: list[Fit], validation: Dataset, *, seed: int) -> Fit:
    """The fit of the highest density, or bound by 100 draws, of validation phrases."""
    return max(fits, key=lambda found: log_density(found.family, validation, seed=seed, draws=100).elpd)


def notes_kept(family: SequenceVAE, rows: Dataset) -> float:
    """The share of notes that begin where they began when the phrases' codes are decoded."""
    tokens = rows.values.long().numpy()
    return (decoded_tokens(family, encode(family, rows).to_numpy()) == tokens)[tokens >= PITCHES].mean()


def judges_of(fits: Mapping[str, Fit], validation: Dataset, *, seed: int) -> dict[str, Family]:
    """The chain, and of the VAEs that do not decode the paths the one of the highest bound of validation phrases."""
    names = [f"VAE, {name}" for name in DECODERS]
    vae = best([fits[name] for name in names], validation, seed=seed)
    return {name: fits[name].family for name in [CHAIN, *names] if name == CHAIN or fits[name] is vae}
