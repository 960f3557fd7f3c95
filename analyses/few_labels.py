"""How far do few labels go? Binary digits, most of them without their name, and digits drawn to order."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

import ppl_models as ppl
from ppl_models.datasets import Prepared, prepare_split
from ppl_models.families import SemiSupervisedVAE
from ppl_models.inference import Gradient, class_probabilities, images_of
from ppl_models.nn import Dense
from ppl_models.reports import image_grid
from ppl_models.scripts import OutputDir, Quick, Seed, script

KNOWN, DRAWN = (3, 10), 15  # labels a digit; draws of each digit
VAE = "semi-supervised VAE"
RULE = "logistic regression, named digits alone"


def few(parts: Prepared, count: int, *, seed: int) -> np.ndarray:
    """Which training rows keep their label: so many of each class."""
    order, labels = np.random.default_rng(seed).permutation(len(parts.train)), parts.train.labels.numpy()
    return np.concatenate([order[labels[order] == one][:count] for one in np.unique(labels)])


def right(parts: Prepared, named: np.ndarray, *, seed: int, quick: bool) -> tuple[dict[str, np.ndarray], ppl.VAE]:
    """For each model whether held-out digits are told right, and the VAE."""
    frame = parts.frames.train.copy()
    frame["digit"] = frame["digit"].astype("Int64")
    frame.loc[~np.isin(np.arange(len(frame)), named), "digit"] = pd.NA
    told, rows = parts.preparation(frame), parts.train[torch.tensor(named)]
    family = SemiSupervisedVAE(told.schema, latent=8, alpha=20.0, learned_shares=False, network=Dense((128,), hide=0.3))
    method = Gradient(steps=100 if quick else 1200, check_every=400)
    family = ppl.fit(family, told, seed=seed, method=method).family
    chances = {VAE: class_probabilities(family, parts.test, seed=seed, draws=50)}
    for name, train in {"naive Bayes, all digits": told, "naive Bayes, named digits alone": rows}.items():
        found = ppl.fit(ppl.NaiveBayes(train.schema), train, seed=seed).family
        chances[name] = class_probabilities(found, parts.test)
    for name, train in {RULE: rows, "logistic regression, every digit named": parts.train}.items():
        found = LogisticRegression(max_iter=2000).fit(train.values, train.labels)
        chances[name] = found.predict_proba(parts.test.values)
    return {name: np.asarray(each).argmax(1) == parts.test.labels.numpy() for name, each in chances.items()}, family


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/few_labels"), quick: Quick = False) -> None:
    """Hide most labels of the training digits, over seeds, and tell held-out ones."""
    started, table, lines = perf_counter(), ppl.load("digits_binary"), {}
    for each in range(seed, seed + (2 if quick else 5)):
        parts = prepare_split(table.frame, table.schema, seed=each, stratify="digit")
        for count in KNOWN[: 1 if quick else None]:
            found, family = right(parts, few(parts, count, seed=each), seed=each, quick=quick)
            lines |= {(name, count, each): hits.mean() for name, hits in found.items()}
    found = pd.Series(lines).rename_axis(["model", "named", "seed"]).unstack(["named", "seed"])
    ahead = (found - found.loc[RULE]).T.groupby("named")
    means, least, errors = found.T.groupby("named").mean().T, ahead.mean().T, ahead.sem().T
    told = [
        f"{count} named a digit: {means.at[VAE, count]:.1%} of held-out digits told right, {least.at[VAE, count]:+.1%} "
        f"(se {errors.at[VAE, count]:.1%}) beside logistic regression on them"
        for count in means
    ]
    drawn = {digit: parts.preparation(ppl.sample(family, DRAWN, seed=seed, label=digit)) for digit in range(10)}
    judge = LogisticRegression(max_iter=2000).fit(parts.train.values, parts.train.labels)
    obeyed = np.mean([judge.predict(rows.values) == digit for digit, rows in drawn.items()])
    text = f"{'; '.join(told)}. {obeyed:.0%} of draws to order are told as ordered, by a rule that saw all names."
    report = ppl.Report("Few labels", summary=f"A {VAE}, {text}", seed=seed)
    report.data(table.name, parts.test.checksum, len(parts.test))
    sides = [means.add_suffix(" a digit"), least.add_suffix(", ahead"), errors.add_suffix(", se")]
    caption = f"Share of held-out digits told right, means over seeds, whose splits overlap; ahead of {RULE}."
    report.table("accuracy", pd.concat(sides, axis=1).sort_values(sides[0].columns[0]), caption=caption)
    images = image_grid({str(digit): images_of(rows) for digit, rows in drawn.items()}, columns=DRAWN)
    report.figure("ordered", images, caption=f"Drawn to order by the last {VAE}.", alt="Draws, a line a digit.")
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
