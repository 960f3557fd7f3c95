"""Who earns more than 50,000 dollars? Naive Bayes on the census of 1994, by what is made of its real columns."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.stats import entropy

from ppl_models import NaiveBayes, Report, fit, infer_schema, load, prepare, split
from ppl_models.inference import class_probabilities, fit_doubts
from ppl_models.reports import classification_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FOLDER = Path(__file__).parents[2] / "shared/data/uci_categorical"
NAMES = "age work weight education schooling marital occupation relation race sex gain loss hours country label"


def cut_points(counts: pd.DataFrame) -> list[float]:
    """Where to cut a column so as to tell classes: Fayyad and Irani (1993), from rows of each class at each value."""
    below, whole = counts.to_numpy().cumsum(0)[:-1], counts.to_numpy().sum(0)
    if len(below) == 0:
        return []
    sides, rows = np.stack([below, whole - below]), whole.sum()
    bits = (sides.sum(-1) * entropy(sides, base=2, axis=-1)).sum(0)
    at = int(bits.argmin())
    parts = np.stack([whole, *sides[:, at]])
    kinds, unsure = (parts > 0).sum(1), entropy(parts, base=2, axis=1)
    price = np.log2(rows - 1) + np.log2(3.0 ** kinds[0] - 2) - (kinds * unsure) @ [1, -1, -1]
    if rows * unsure[0] - bits[at] <= price:
        return []
    middle = float(counts.index[at] + counts.index[at + 1]) / 2
    return [*cut_points(counts.iloc[: at + 1]), middle, *cut_points(counts.iloc[at + 1 :])]


def cut(frame: pd.DataFrame, points: dict[str, list[float]]) -> pd.DataFrame:
    """Columns as intervals; those without a cut are left out."""
    pieces = {name: pd.cut(frame[name], [-np.inf, *at, np.inf]).astype(str) for name, at in points.items()}
    return frame.assign(**pieces).drop(columns=[name for name, at in points.items() if not at])


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/census"), quick: Quick = False) -> None:
    """Train on one part of the census and tell the other's classes, with its real columns treated in four ways."""
    started, found = perf_counter(), FOLDER.is_dir()
    files = {part: FOLDER / f"adult-{part}.csv.xz" for part in ("train", "test")}
    parts = vars(split(load("breast_cancer").frame, seed=seed, validation=0.0, stratify="label"))
    if found:
        parts = {part: pd.read_csv(file, names=NAMES.split(), na_values="?").dropna() for part, file in files.items()}
    train, frame = parts["train"], pd.concat({part: parts[part] for part in files})
    real = list(train.drop(columns="label").select_dtypes("number"))
    amounts = frame[[name for name in real if (train[name] == 0).mean() > 0.5]].replace(0, np.nan)
    tenths = {name: np.unique(train[name].quantile(np.linspace(0.1, 0.9, 9))).tolist() for name in real}
    points = {name: cut_points(pd.crosstab(train[name], train["label"])) for name in real}
    treated = {"cut by entropy": cut(frame, points), "normal": frame, "cut at tenths": cut(frame, tenths)}
    treated["zeros apart"] = frame.assign(**amounts, **amounts.notna().astype(int).add_suffix("_any"))
    report, given = Report("Census: who earns more than 50,000 dollars?", summary="", seed=seed), {}
    for name, table in list(treated.items())[: 2 if quick else None]:
        kinds = {} if name.startswith("cut") else dict.fromkeys(real, "real")
        kinds |= {column: "positive" for column in kinds if name == "zeros apart" and table[column].min() > 0}
        schema = infer_schema(table, label="label", kinds=kinds)
        preparation = prepare(table.loc["train"], schema)
        rows, test = preparation(table.loc["train"]), preparation(table.loc["test"])
        ended = fit(NaiveBayes(schema), rows, seed=seed)
        given[name] = class_probabilities(ended.family, test).to_numpy()
        report.check("how fits ended", fit_doubts(ended), of=name)
        report.data(f"{name}, test", test.checksum, len(test))
    text = "Learned from training rows. Cut by entropy: intervals by Fayyad and Irani's rule, none where no cut pays; "
    text += "normal: one a class; at tenths: ten intervals of as many rows; zeros apart: log-normal, and where most "
    report.text("Treatments", text + "are zero, a column of whether it is. Rows with unknown cells are left out.")
    report.table("cuts", pd.DataFrame({"column": real, "cuts": points.values()}), caption="The cuts by entropy.")
    scores = classification_section(report, given, test.labels.numpy(), names=schema.label.categories, rows="test rows")
    shown = (f"{name} {row.accuracy:.2%} ± {row.accuracy_se:.2%}" for name, row in scores.iterrows())
    published = "Published for adult: 83.88 % ± 0.30 % (MLC++)." if found else f"No {FOLDER}: this is breast_cancer."
    report.summary = f"Test rows told rightly by naive Bayes: {'; '.join(shown)}. {published}"
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
