"""What do 64 restarts of a mixture cost beside one, and beside scikit-learn's 64? 2,000 x 2, K = 5, one thread.

One run alone takes 30 to 200 cycles by where it starts, so that one is the mean of many from starts of their own.
"""

import warnings
from functools import partial

import pandas as pd
import torch
from contests import REPEATS, hard_table, timed
from judging import Judge
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from threadpoolctl import threadpool_limits

from ppl_models import GaussianMixture, fit, prepare
from ppl_models.datasets import Dataset
from ppl_models.inference import NaturalGradient
from ppl_models.scripts import Quick, Seed, script

COMPONENTS = 5
ALONE = 16  # single runs beside each of many


def ours(rows: Dataset, restarts: int, *, seed: int) -> float:
    """The ELBO of the best of so many restarts, each carried to its end."""
    method = NaturalGradient(restarts=restarts, starts=restarts)
    return fit(GaussianMixture(rows.schema, components=COMPONENTS), rows, seed=seed, method=method).elbo


def theirs(rows: Dataset, restarts: int, *, seed: int) -> BayesianGaussianMixture:
    """scikit-learn's best of so many."""
    table = {"covariance_type": "diag", "tol": 1e-6, "max_iter": 1000, "n_init": restarts, "random_state": seed}
    return BayesianGaussianMixture(n_components=COMPONENTS, **table).fit(rows.values.numpy())


def main(*, seed: Seed = 0, quick: Quick = False) -> None:
    """Print CPU seconds and ratios, by seeds of the starts."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    frame = hard_table(2000, 2, COMPONENTS, seed=seed)
    rows, many, lines = prepare(frame)(frame), 8 if quick else 64, []
    judge = Judge(rows, "diagonal", COMPONENTS)
    with threadpool_limits(1):
        ours(rows, 1, seed=seed)
        theirs(rows, 1, seed=seed)
        for start in range(2 if quick else REPEATS):
            ones = [timed(partial(ours, rows, 1, seed=ALONE * start + turn)) for turn in range(2 if quick else ALONE)]
            all_of_them = timed(partial(ours, rows, many, seed=start))
            peer = timed(partial(theirs, rows, many, seed=start))
            seconds = pd.Series([one.cpu for one in ones])
            line = {"one_s": seconds.mean(), "one_least_s": seconds.min(), "one_most_s": seconds.max()}
            line |= {"many_s": all_of_them.cpu, "scikit_learn_many_s": peer.cpu}
            line |= {"elbo_one": max(one.found for one in ones), "elbo_many": all_of_them.found}
            line["scikit_learn_elbo"] = judge(torch.tensor(peer.found.predict_proba(rows.values.numpy())))
            lines.append(line)
    table = pd.DataFrame(lines).rename_axis("seed")
    print(f"{many} restarts; CPU seconds and nats a row, by the seed of the starts")
    print(table.round(4).to_string())
    total = table.sum()
    print(f"{many} cost {total['many_s'] / total['one_s']:.2f} of one", end=", ")
    print(f"{total['many_s'] / total['scikit_learn_many_s']:.4f} of scikit-learn's {many}", end="; ")
    print(f"by seed {(table['many_s'] / table['one_s']).round(1).tolist()}")


if __name__ == "__main__":
    script(main)
