"""How long do mixtures take beside scikit-learn's, NumPyro's, Pyro's and pomegranate's, to the same ELBO?

All are judged by our ELBO of the training rows, nats a row: that of the q(θ) which one step leads to from a peer's
responsibilities, so that no peer is the worse for another prior. One thread each.
"""

import warnings
from functools import partial
from typing import Annotated

import typer
from contests import REPEATS, Contender, contest, hard_table
from judging import COMPONENTS, Judge, mixture_of
from mixture_peers import numpyro_svi, pomegranate_em, pyro_svi, scikit_learn
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from ppl_models import fit, prepare
from ppl_models.datasets import Dataset
from ppl_models.errors import FitWarning
from ppl_models.inference import NaturalGradient
from ppl_models.scripts import Quick, Seed, script

TABLES = {"diagonal": (100_000, 10), "full": (20_000, 10)}
Peers = Annotated[str, typer.Option(help="Those of the peers to run, with commas between.")]
Covariances = Annotated[str, typer.Option(help="Those of the tables, with commas between.")]


def ours(rows: Dataset, covariance: str, *, seed: int, **settings: int) -> Contender:
    """``fit`` by natural gradients; the budget is its limit on passes."""

    def run(passes: int) -> float:
        method = NaturalGradient(steps=passes, **settings)
        return fit(mixture_of(rows, covariance), rows, seed=seed, method=method).elbo

    return Contender(run, float, 4, 10_000)


def main(
    *,
    seed: Seed = 0,
    quick: Quick = False,
    peers: Peers = "scikit-learn,NumPyro,Pyro,pomegranate",
    covariances: Covariances = "diagonal,full",
) -> None:
    """Print a table for each covariance."""
    for category in (FitWarning, ConvergenceWarning):
        warnings.simplefilter("ignore", category)
    for covariance in covariances.split(","):
        number, columns = TABLES[covariance]
        frame = hard_table(number // 50 if quick else number, columns, COMPONENTS, seed=seed)
        rows = prepare(frame)(frame)
        judge = Judge(rows, covariance)
        others = {
            "scikit-learn": partial(scikit_learn, raw=frame.to_numpy()),
            "NumPyro": numpyro_svi,
            "Pyro": pyro_svi,
            "pomegranate": pomegranate_em,
        }
        alone = {"ours, 1 start": ours(rows, covariance, seed=seed, restarts=1, starts=1)}
        for name in peers.split(","):
            alone |= others[name](rows.values.numpy(), COMPONENTS, covariance, judge=judge, seed=seed, quick=quick)
        many = {"ours, 8 restarts of 64 starts": ours(rows, covariance, seed=seed)}
        many |= {name: alone[name] for name in alone if name.startswith("scikit-learn")}
        print(f"{covariance}, {len(rows)} x {columns}, {COMPONENTS} components, seed {seed}")
        for contenders in (alone, many):
            with threadpool_limits(1):
                table = contest(contenders, repeats=1 if quick else REPEATS)
            print(table.round(4).to_string(), flush=True)


if __name__ == "__main__":
    script(main)
