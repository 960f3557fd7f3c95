"""Which covariance do the irises speak for? Fourteen structures by maximum likelihood, a peer's four beside them."""

from pathlib import Path
from time import perf_counter

import pandas as pd
from sklearn.mixture import GaussianMixture as Peer

from ppl_models import GaussianMixture, Report, Schema, fit, load, prepare
from ppl_models.datasets import Dataset
from ppl_models.distributions.structures import STRUCTURES
from ppl_models.inference import restart_report
from ppl_models.scripts import OutputDir, Quick, Seed, script

PEERS = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}  # scikit-learn's names


def line(schema: Schema, rows: Dataset, *, covariance: str, components: int, seed: int) -> dict[str, object]:
    """One structure's maximum likelihood, with how its restarts ended."""
    family = GaussianMixture(schema, components=components, covariance=covariance, estimate="maximum-likelihood")
    found = fit(family, rows, seed=seed)
    optima = restart_report(found, rows)
    return {
        "components": components,
        "covariance": covariance,
        "n_parameters": found.n_parameters,
        "log_likelihood": found.log_likelihood,
        "bic_higher_is_better": found.bic,
        "icl_higher_is_better": found.icl,
        "optima": len(optima),
        "restarts at the best": int(optima["restarts"].iloc[0]),
    }


def peer(frame: pd.DataFrame, *, covariance: str, components: int, seed: int, starts: int) -> float:
    """The best log-likelihood, total nats, of scikit-learn's EM from so many starts, without its regularisation."""
    if covariance not in PEERS:
        return float("nan")
    settings = {"covariance_type": PEERS[covariance], "reg_covar": 1e-12, "tol": 1e-9, "max_iter": 5000}
    found = Peer(components, n_init=starts, random_state=seed, **settings).fit(frame)
    return found.score(frame) * len(frame)


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/covariances"), quick: Quick = False) -> None:
    """Fit every structure with two and three components, and compare with scikit-learn where it has the structure."""
    started = perf_counter()
    table = load("iris")
    rows, columns = prepare(table.frame, table.schema)(table.frame), list(table.schema.names)
    cells = [{"covariance": name, "components": count} for count in (2, 3) for name in STRUCTURES]
    found = pd.DataFrame([line(table.schema, rows, **cell, seed=seed) for cell in cells])
    starts = 2 if quick else 20
    found["scikit-learn"] = [peer(table.frame[columns], **cell, seed=seed, starts=starts) for cell in cells]
    found["above it"] = found["log_likelihood"] - found["scikit-learn"]
    best = found.loc[found["bic_higher_is_better"].idxmax()]
    summary = (
        f"By BIC the irises speak for {best['components']} components of covariance {best['covariance']} "
        f"(BIC {best['bic_higher_is_better']:.2f}, log-likelihood {best['log_likelihood']:.2f}, "
    )
    summary += (
        f"{best['n_parameters']} parameters). Where scikit-learn has the structure, its best of {starts} starts is "
        f"at most {-found['above it'].min():.4f} nats in total above ours."
    )
    report = Report("Covariances: fourteen structures on the irises", summary=summary, seed=seed)
    report.data("iris, all rows", rows.checksum, len(rows))
    caption = "Maximum likelihood, total nats in raw units; criteria are 2 log L less their price, higher is better. "
    caption += (
        "Restarts: of the runs carried to the end, how many ended at the best optimum, and how many optima there were."
    )
    report.table("structures", found.set_index(["components", "covariance"]), caption=caption)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
