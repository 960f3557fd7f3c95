"""The few-labels script: which names are kept, and what it writes."""

from pathlib import Path

import numpy as np
import pandas as pd
from scripts import analysis

from ppl_models import load
from ppl_models.datasets import prepare_split

few_labels = analysis("few_labels")


def test_so_many_of_each_class_keep_their_name():
    table = load("digits_binary")
    parts = prepare_split(table.frame, table.schema, seed=1, stratify="digit")
    named = few_labels.few(parts, 4, seed=1)
    assert len(set(named)) == 40
    assert np.bincount(parts.train.labels.numpy()[named]).tolist() == [4] * 10


def test_the_report_sets_all_models_beside_the_same_rule(tmp_path: Path):
    few_labels.main(seed=0, output_dir=tmp_path / "report", quick=True)
    table = pd.read_csv(tmp_path / "report/tables/accuracy.csv", index_col="model")
    assert set(table.index) > {few_labels.VAE, few_labels.RULE} and len(table) == 5
    np.testing.assert_allclose(table["3, ahead"], table["3 a digit"] - table.loc[few_labels.RULE, "3 a digit"])
    assert table.loc[few_labels.RULE, "3, se"] == 0 and (table.drop(few_labels.RULE)["3, se"] > 0).all()
    assert (tmp_path / "report/figures/ordered.svg").is_file()
