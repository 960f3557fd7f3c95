"""Densities on disk come back as they were, and nothing else comes in."""

import dataclasses

import numpy as np
import pytest

from ppl_models.errors import InputError
from ppl_models.evaluation import Density, load_density, save_density

EXACT = Density(np.array([-1.5, -2.25]), "exact", "abc", ("x", "n"), (False, True))
BOUND = dataclasses.replace(
    EXACT, kind="lower bound", draws=50, monte_carlo_se=np.array([0.1, 0.2]), khat=np.array([0.3, np.inf]), mean_se=0.05
)
INTERVAL = dataclasses.replace(BOUND, kind="interval", upper=np.array([-1.0, -2.0]), effective=np.ones(2), rise=0.1)


@pytest.mark.parametrize("density", [EXACT, BOUND, INTERVAL], ids=lambda density: density.kind)
def test_a_density_comes_back_as_it_was(tmp_path, density):
    save_density(density, tmp_path / "density.npz")
    found = load_density(tmp_path / "density.npz")
    for field in dataclasses.fields(Density):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(density, field.name))
    assert [path.name for path in tmp_path.iterdir()] == ["density.npz"]


def test_what_is_no_density_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none.npz: expected a saved density, found no file"):
        load_density(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", values=np.ones(2))
    np.savez(tmp_path / "pickled.npz", facts=np.array([{}], dtype=object))
    for name in ("text", "other", "pickled"):
        with pytest.raises(InputError, match=f"{name}.npz: expected a density that save_density wrote"):
            load_density(tmp_path / f"{name}.npz")
