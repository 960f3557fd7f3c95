"""Held-out nats a step of every model, and what was chosen of each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from melody_measures import jackknife
from melody_models import CHAIN, SOUNDING

from ppl_models import Report
from ppl_models.datasets import Split
from ppl_models.datasets.melodies import STEPS
from ppl_models.evaluation import Density, compare
from ppl_models.inference import Fit


def steps_section(
    report: Report, densities: Mapping[str, Density], fits: Mapping[str, Fit], frames: Split, source: str
) -> None:
    """Add held-out nats a step, differences from the chain, and their errors over phrases and over melodies."""
    parts = {"to learn from": frames.train, "to choose by": frames.validation, "held out": frames.test}
    titles = {what: frame.index.get_level_values("title").to_numpy()[:, None] for what, frame in parts.items()}
    counts = [f"{len(each)} phrases of {len(np.unique(each))} melodies {what}" for what, each in titles.items()]
    held_out = titles["held out"]
    table = compare(densities, reference=CHAIN)
    apart = {name: (one.values - densities[CHAIN].values) / STEPS for name, one in densities.items()}
    errors = pd.Series({name: jackknife(values, held_out)[1] for name, values in apart.items()})
    steps = (table[["elpd", "se", "diff", "dse"]] / STEPS).assign(dse_by_melody=errors)
    text = (
        "The same in nats a step: nats per row / 32, higher is better. diff is from the Markov chain, dse its error "
        f"over phrases, dse by melody that over melodies, whose phrases are alike. “{SOUNDING}” is told what the step "
        "before holds, not only that it does; its smoothing gives a little probability to steps that cannot be. "
        "Settings were chosen on validation phrases."
    )
    report.text("Nats a step", f"{source}: {', '.join(counts)}.")
    report.table("steps", steps.join([table["kind"], settings(fits)]), caption=text, digits=4)
    each = ", ".join(f"{name} {value:.3f}".replace("-", "−") for name, value in steps["elpd"].items())
    report.summary += f" In nats a step, which are nats per row / 32: {each}."
    first, second = table["elpd"].nlargest(2).index
    lead, error = jackknife((densities[first].values - densities[second].values) / STEPS, held_out)
    report.sure += " That takes phrases for independent, but those of a melody are alike. By melodies the lead over "
    report.sure += f"“{second}” is {lead:.3f} nats a step (se {error:.3f})."


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
