"""How would those have voted who did not? Votes that were cast are hidden, filled in, and held against the truth."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ppl_models import Mixture, NaiveBayes, Report, Schema, fit, load, prepare
from ppl_models.datasets import Table
from ppl_models.inference import Imputation, impute
from ppl_models.reports import classification_section, fit_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FILE = Path(__file__).parents[2] / "shared/data/uci_categorical/HouseVotes84.csv"
HIDDEN = 0.1


def answers(found: Imputation, hidden: pd.DataFrame) -> np.ndarray:
    """p(first answer), p(second) of the hidden cells: shares of draws, a half added to each count."""
    asked = hidden.to_numpy()[found.cells["row"], hidden.columns.get_indexer(found.cells["column"])]
    second = (found.draws[:, asked].sum(0) + 0.5) / (len(found.draws) + 1)
    return np.column_stack([1 - second, second])


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/missing_votes"), quick: Quick = False) -> None:
    """Fill in hidden votes by naive Bayes, by mixtures, and by how everyone voted; say how often that was right."""
    started, there = perf_counter(), FILE.is_file()
    table = Table.from_file(FILE, label="Class") if there else load("digits_binary")
    frame, schema = table.frame if there else table.frame.head(435), table.schema
    everything, columns = prepare(frame, schema)(frame), list(schema.names)
    observed, values = everything.observed.numpy(), everything.values.numpy()
    hidden = observed & (np.random.default_rng(seed).random(observed.shape) < HIDDEN)
    places = pd.DataFrame(hidden, index=frame.index, columns=columns)
    seen = frame.assign(**frame[columns].mask(places))
    column = Schema((schema.label, *schema.columns))
    models = {"naive Bayes": NaiveBayes(schema)}
    models |= {f"mixture of {size}": Mixture(column, components=size) for size in ((4,) if quick else (2, 4, 8))}
    shares = np.nanmean(np.where(observed & ~hidden, values, np.nan), axis=0)[hidden.nonzero()[1]]
    given, fits = {"shares of the column": np.column_stack([1 - shares, shares])}, {}
    for name, family in models.items():
        rows = prepare(seen, family.schema)(seen)
        fits[name] = fit(family, rows, seed=seed)
        given[name] = answers(impute(family, rows, seed=seed, draws=100 if quick else 400), places)
    report = Report("Missing votes: how would they have voted?", summary="", seed=seed)
    report.data(table.name, everything.checksum, len(frame))
    fit_section(report, fits)
    text = f"{hidden.sum():,} of {observed.sum():,} observed cells were hidden at random from all models, and "
    text += f"{(~observed).sum():,} were missing. Each model is fitted to what is left and fills in both; the mixtures "
    report.text("What was done", text + f"have {schema.label.name} as one of their columns.")
    truth = values[hidden].astype(int)
    scores = classification_section(report, given, truth, names=(0, 1), name="hidden", rows="hidden cells")
    best = max((name for name in models if name != "naive Bayes"), key=lambda name: fits[name].elbo)
    shown = [f"{name} {row.accuracy:.1%} right, {row.log_score:.3f} nats" for name, row in scores.iterrows()]
    report.summary = "" if there else f"No {FILE}: on {table.name} instead. "
    report.summary += f"Hidden cells filled in: {'; '.join(shown)}. By the training ELBO the choice is the {best}, "
    report.summary += f"whose probabilities miss what came true by {scores['calibration_error'][best]:.3f} on average."
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
