"""Latent class analysis by maximum likelihood, against the log-likelihoods that the poLCA manual publishes."""

from pathlib import Path

import pandas as pd
import pytest

from ppl_models.datasets import Column, Schema, prepare
from ppl_models.families import Mixture
from ppl_models.inference import fit

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "latent_class"
PUBLISHED = [
    ("carcinoma", 1, -524.4648),
    ("carcinoma", 2, -317.2568),
    ("carcinoma", 3, -293.705),
    ("carcinoma", 4, -289.2858),
    ("cheating", 2, -440.0271),
]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the tables of poLCA are not in {FOLDER}")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("table", "classes", "published"), PUBLISHED)
def test_latent_classes_reach_the_published_log_likelihood(table, classes, published, seed):
    frame = pd.read_csv(FOLDER / f"{table}.csv").drop(columns="GPA", errors="ignore")
    schema = Schema(tuple(Column(name, "categorical", (1.0, 2.0)) for name in frame))
    rows = prepare(frame, schema)(frame)
    found = fit(Mixture(schema, components=classes, estimate="maximum-likelihood"), rows, seed=seed)
    assert found.elbo * len(rows) == pytest.approx(published, abs=1e-4)
