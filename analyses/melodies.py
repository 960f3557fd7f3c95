"""Are points between two melodies melodies too? A sequence VAE beside a Markov chain, and beside blending the notes."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from melody_chain import sounding_chain
from melody_codes import kept_section
from melody_concepts import concept_section
from melody_gaps import path_section
from melody_measures import measured, step_density
from melody_models import CHAIN, EXACT, PATHS, SOUNDING, fitted, judges_of
from melody_paths import MIXED, TYPICAL, blended, decoded, pairs_of
from melody_phrases import new_phrases, phrases_of
from melody_rolls import concept_rolls, drawn_rolls, path_rolls, phrase_rolls
from melody_steps import settings, steps_section

import ppl_models as ppl
from ppl_models.datasets import read_chorales, split_by_melody
from ppl_models.reports import comparison_section, conclusion
from ppl_models.scripts import OutputDir, Quick, Seed, script

PLACE, PAIRS = Path("results/melodies"), 250
Data = Annotated[Path | None, typer.Option(help="Chorales (npz), as read_chorales takes them; else bundled melodies.")]


def main(*, data: Data = None, seed: Seed = 0, output_dir: OutputDir = PLACE, quick: Quick = False) -> None:
    """Compare densities of held-out phrases, walk between them, and draw, move and play some."""
    started, table = perf_counter(), ppl.load("melodies")
    frames = split_by_melody(table.frame, seed=seed) if data is None else read_chorales(data)
    source = "Bundled melodies" if data is None else str(data)
    new, prepare = new_phrases(frames, source), ppl.prepare(frames.train, table.schema)
    train, validation, test = map(prepare, (frames.train, frames.validation, frames.test))
    fits = fitted(train, validation, seed=seed, quick=quick)
    families, draws = {name: found.family for name, found in fits.items()}, 20 if quick else 500
    compared = {name: family for name, family in families.items() if name != PATHS}
    densities = {name: ppl.log_density(family, test, seed=seed, draws=draws) for name, family in compared.items()}
    report = ppl.Report("Melodies: what lies between two of them?", seed=seed)
    fits[SOUNDING], densities[SOUNDING] = sounding_chain(frames, like=densities[CHAIN], seed=seed)
    shown = {name: found for name, found in fits.items() if name not in EXACT}
    report.summary, report.sure = conclusion(comparison_section(report, densities, shown, train=train))
    steps_section(report, densities, fits, frames, source)
    family, others = families[PATHS], prepare(new)
    text = f"What follows is about the {len(others)} held-out phrases that no training melody has, none twice, and a "
    text += f"VAE whose KL weighs little, so that its codes say more ({settings(fits)[PATHS]}). Its own bound is far "
    text += "from tight, so that it is not compared."
    report.text("Held-out phrases, rebuilt", text)
    phrases = phrases_of(family, others)
    kept_section(report, family, phrases)
    phrase_rolls(report, family, phrases.tokens, phrases.codes, others.names)
    pairs = pairs_of(phrases.titles, count=20 if quick else PAIRS, seed=seed)
    (start, end), (first, last) = (each[pairs.T] for each in (phrases.codes, phrases.tokens))
    paths = decoded(family, start, end, seed=seed) | blended(first, last, seed=seed)
    judges, how = judges_of(fits, validation, seed=seed), {"draws": draws // 10, "seed": seed}
    ends = {name: step_density(judge, phrases.tokens, **how).mean() for name, judge in judges.items()}
    path_section(report, measured(paths, judges, **how), judges, phrases.titles[pairs], pairs, ends)
    path_rolls(report, {name: paths[name][0] for name in (TYPICAL, MIXED)}, others.names[pairs[0]])
    report.text("Drawn", "")
    drawn_rolls(report, {name: families[name] for name in (*judges, PATHS)}, seed=seed)
    report.text("More notes, fewer notes", "")
    concept = concept_section(report, family, phrases_of(family, train), phrases, seed=seed)
    concept_rolls(report, family, concept, phrases.codes, others.names)
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
