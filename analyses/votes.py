"""Which party does a voting record belong to? Naive Bayes, and a mixture with the party as a column, on 16 votes."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import StratifiedKFold

from ppl_models import Mixture, NaiveBayes, Report, Schema, fit, load, prepare
from ppl_models.datasets import Table
from ppl_models.evaluation import score_classes
from ppl_models.families import ClassProduct
from ppl_models.inference import class_probabilities, conditional_log_density
from ppl_models.reports import classification_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FILE = Path(__file__).parents[2] / "shared/data/uci_categorical/HouseVotes84.csv"


def predicted(family: ClassProduct, train: pd.DataFrame, *, test: pd.DataFrame, label: str, seed: int) -> np.ndarray:
    """p(label given the other columns) of test rows; the label is the family's class or its first column."""
    preparation = prepare(train, family.schema)
    found = fit(family, preparation(train), seed=seed).family
    if family.schema.label is not None:
        return class_probabilities(found, preparation(test)).to_numpy()
    asked, *others = family.schema.columns
    rows = [preparation(test.assign(**{label: name})) for name in asked.categories]
    return np.exp([conditional_log_density(found, each, given=[one.name for one in others]).values for each in rows]).T


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/votes"), quick: Quick = False) -> None:
    """Tell parties from votes: in training, held out, with one party in twenty known, and with none."""
    started, found = perf_counter(), FILE.is_file()
    table = Table.from_file(FILE, label="Class") if found else load("iris")
    frame, schema, everything = table.frame, table.schema, prepare(table.frame, table.schema)(table.frame)
    label, names, labels = schema.label.name, schema.label.categories, everything.labels.numpy()
    called = {"label": label, "seed": seed}
    report = Report("Votes: which party?", summary="" if found else f"No {FILE}: on {table.name} instead. ", seed=seed)
    report.data(table.name, everything.checksum, len(frame))
    mixture = Mixture(Schema((schema.label, *schema.columns)), components=2 * schema.classes)
    models = {"naive Bayes": NaiveBayes(schema, smoothing=3.0), "mixture": mixture}
    trained = {"none": NaiveBayes(schema, estimate="maximum-likelihood"), "3": models["naive Bayes"]}
    trained = {name: predicted(family, frame, test=frame, **called) for name, family in trained.items()}
    trained = {name: score_classes(values, labels, names=names).confusion for name, values in trained.items()}
    text = "Naive Bayes trained and tested on all rows, missing cells ignored: predicted by line, true by column. For "
    text += "HouseVotes84 R's e1071 has 238 13 / 29 155 without smoothing and 237 12 / 30 156 with 3 for each count."
    report.table("training", pd.concat(trained, names=["smoothing"]), caption=text)
    held_out = {name: np.empty((len(frame), len(names))) for name in models}
    for train, test in StratifiedKFold(3 if quick else 10, shuffle=True, random_state=seed).split(frame, labels):
        for name, family in models.items():
            held_out[name][test] = predicted(family, frame.iloc[train], test=frame.iloc[test], **called)
    text = f"Naive Bayes counts columns that go together over and over. The mixture of {mixture.classes} has {label} "
    report.text("Held out", text + "as one of its columns, and tells it from the others.")
    scores = classification_section(report, held_out, labels, names=names, name="held-out")
    lines, choices = [], list(StratifiedKFold(20, shuffle=True, random_state=seed).split(frame, labels))
    for rest, known in choices[: 3 if quick else None]:
        told = frame.assign(**{label: frame[label].where(np.isin(np.arange(len(frame)), known))}).dropna(how="all")
        tried = {"naive Bayes, known rows alone": (models["naive Bayes"], frame.iloc[known])}
        for name, (family, rows) in (tried | {f"{name}, all rows": (models[name], told) for name in models}).items():
            score = score_classes(predicted(family, rows, test=frame.iloc[rest], **called), labels[rest], names=names)
            lines.append((name, score.accuracy, score.brier, score.log_score))
    few = pd.DataFrame(lines, columns=["model", "accuracy", "brier", "log_score"]).groupby("model", sort=False)
    few = few.mean().join(few.sem().add_suffix("_se"))
    text = "One label in twenty known: means over choices of the known rows, and standard errors (se) over the choices."
    report.table("few", few, caption=text, digits=4)
    family = fit(Mixture(schema, components=schema.classes), everything, seed=seed).family
    groups = class_probabilities(family, everything).to_numpy().argmax(axis=1) + 1
    text = f"Components of a mixture told no label: adjusted Rand index {adjusted_rand_score(labels, groups):.3f}."
    report.table("unlabelled", pd.crosstab(groups, frame[label], rownames=["component"]), caption=text)
    for what, part in {"Held out": scores, "One label in twenty known": few}.items():
        shown = (f"{name} {row.accuracy:.1%} right, {row.log_score:.2f} nats" for name, row in part.iterrows())
        report.summary += f"{what}: {'; '.join(shown)}. "
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
