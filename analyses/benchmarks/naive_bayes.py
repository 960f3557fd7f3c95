"""What do fitting and scoring naive Bayes cost beside scikit-learn's? 1,000,000 x 20 and five classes, one thread.

Ours begins with prepared rows, scikit-learn's with arrays, which it checks; what preparing costs is printed apart.
scikit-learn's score is the log of the summed joint, which is our log density but for the prior; ours integrates the
parameters out, by Student's t for real columns.
"""

from functools import partial

import numpy as np
import pandas as pd
from contests import REPEATS, timed
from scipy.special import logsumexp
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from threadpoolctl import threadpool_limits

from ppl_models import NaiveBayes, fit, log_density, prepare
from ppl_models.datasets import Column, Dataset, Schema
from ppl_models.scripts import Quick, Seed, script

ROWS, COLUMNS, CATEGORIES, SHARES = 1_000_000, 20, 4, (0.4, 0.3, 0.15, 0.1, 0.05)


def tables(rows: int, *, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Classes of unequal size, and columns of each kind given them."""
    random = np.random.default_rng(seed)
    label = random.choice(len(SHARES), rows, p=SHARES)
    real = random.normal(size=(len(SHARES), COLUMNS))[label] + random.normal(size=(rows, COLUMNS))
    shares = random.dirichlet(np.ones(CATEGORIES), (len(SHARES), COLUMNS)).cumsum(-1)[label]
    return label, {"real": real, "categorical": (random.random((rows, COLUMNS, 1)) > shares[..., :-1]).sum(-1)}


def prepared(label: np.ndarray, table: np.ndarray, kind: str) -> Dataset:
    """The same as our rows."""
    names, codes = [f"x{column + 1}" for column in range(COLUMNS)], tuple(range(CATEGORIES))
    columns = tuple(Column(name, kind, codes if kind == "categorical" else ()) for name in names)
    schema = Schema(columns, label=Column("y", "categorical", tuple(range(len(SHARES)))))
    frame = pd.DataFrame(table, columns=names).assign(y=label)
    return prepare(frame, schema)(frame)


def ours(rows: Dataset) -> float:
    """Fit and score: nats a row."""
    return log_density(fit(NaiveBayes(rows.schema), rows, seed=0).family, rows).elpd


def theirs(label: np.ndarray, table: np.ndarray, kind: str) -> float:
    """The same by scikit-learn."""
    found = (GaussianNB() if kind == "real" else CategoricalNB()).fit(table, label)
    return float(logsumexp(found.predict_joint_log_proba(table), axis=1).mean())


def main(*, seed: Seed = 0, quick: Quick = False) -> None:
    """Print CPU seconds of both, and the ratio."""
    label, by_kind = tables(ROWS // 100 if quick else ROWS, seed=seed)
    for kind, table in by_kind.items():
        made = timed(partial(prepared, label, table, kind))
        rows = made.found
        with threadpool_limits(1):
            pair = partial(ours, rows), partial(theirs, label, table, kind)
            rounds = [tuple(timed(one) for one in pair) for _ in range(REPEATS + 1)]
        cpu = np.array([[one.cpu for one in each] for each in rounds[1:]])
        wall = np.array([[one.wall for one in each] for each in rounds[1:]])
        line = {"ours_cpu_s": cpu[:, 0], "theirs_cpu_s": cpu[:, 1], "ratio": cpu[:, 0] / cpu[:, 1]}
        line |= {"wall_ratio": wall[:, 0] / wall[:, 1]}
        nats = f"nats a row {rounds[0][0].found:.4f}, {rounds[0][1].found:.4f}"
        print(f"{kind}: {len(rows)} x {COLUMNS}; {nats}; prepared in {made.cpu:.2f} CPU seconds")
        print(pd.DataFrame(line).agg(["median", "min", "max"]).round(3).to_string(), flush=True)


if __name__ == "__main__":
    script(main)
