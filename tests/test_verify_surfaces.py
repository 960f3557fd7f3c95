"""The kit where people meet it: as a pytest plugin, and as ``ppl-models verify``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults import FAULTS, conjugate

import ppl_models
from ppl_models.verify import verify

MINE = """
import pyro, pytest, torch
import pyro.distributions as dist
from ppl_models.verify import Pair

X = torch.tensor([0.3, 1.2], dtype=torch.float64)

def model(x):
    with pyro.plate("rows", 2):
        z = pyro.sample("z", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

def guide(x, width=0.5 ** 0.5):
    with pyro.plate("rows", 2):
        pyro.sample("z", dist.Normal(x / 2, width))

def right():
    return Pair(model, guide, (X,), exact=True)

def wrong():
    return Pair(model, lambda x: guide(x, 0.5), (X,), exact=True)
"""
TESTS = """
@pytest.mark.elbo_laws(right, draws=64, laws=["sites", "exact", "parts", "gradients"], exempt={"gradients": "none"})
def test_right(law):
    law()

@pytest.mark.elbo_laws(wrong, draws=64, laws=["exact"])
def test_wrong(law):
    law()

def test_by_hand(verify_elbo):
    verify_elbo(right(), draws=64).require()
"""


@pytest.fixture
def plugin(pytester, monkeypatch):
    """Tests of a user's own, with the plugin by its entry point alone."""
    monkeypatch.setenv("PYTHONPATH", str(Path(ppl_models.__file__).parents[1]))
    pytester.makepyfile(MINE + TESTS)
    return pytester


def test_the_plugin_runs_one_test_a_law(plugin):
    found = plugin.runpytest_subprocess()
    found.assert_outcomes(passed=3, skipped=2, failed=1)
    found.stdout.fnmatch_lines(["*likely: a variance stands for a standard deviation in the guide*"])


def test_the_plugin_is_off_until_it_is_used(pytester):
    pytester.makepyfile("import sys\ndef test_nothing():\n    assert 'torch' not in sys.modules")
    found = pytester.runpytest_subprocess()
    found.assert_outcomes(passed=1)


def shell(folder, *arguments):
    command = [sys.executable, "-W", "ignore", "-c", "from ppl_models.cli import main; main()", "verify", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_the_shell_runs_the_laws_of_a_right_pair(folder):
    found = shell(folder, "mine:right", "--draws", "64", "--json")
    assert found.returncode == 0
    assert {line["law"] for line in json.loads(found.stdout) if line["verdict"] == "holds"} > {
        "sites",
        "exact",
        "bound",
    }


def test_the_shell_exits_with_1_for_a_wrong_pair(folder):
    found = shell(folder, "mine:wrong", "--draws", "64", "--law", "exact")
    assert found.returncode == 1 and "exact: broken" in found.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mine", "expected package.module:pair, got 'mine'"),
        ("yours:pair", "expected a module that can be imported, got 'yours'"),
        ("mine:left", "expected a name in mine, got 'left'"),
        ("mine:X", "expected a Pair or a Scoring"),
    ],
)
def test_the_shell_refuses_what_is_no_pair(folder, target, message):
    found = shell(folder, target)
    assert found.returncode == 2 and message in found.stderr and found.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["ppl_models", "ppl_models.cli"])
def test_nothing_heavy_is_imported_before_it_is_asked_for(module):
    program = f"import sys, {module}; print(*{{'torch', 'pyro', 'pandas', 'matplotlib', 'sklearn'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_every_name_of_the_surface_is_there():
    assert all(getattr(ppl_models, name) is not None for name in ppl_models.__all__)
    assert set(ppl_models.__all__) == set(dir(ppl_models))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ppl_models.nothing


def test_faults_and_right_pairs_are_told_apart_by_truth_value():
    assert verify(conjugate(), laws=["exact"])
    assert not verify(FAULTS["a posterior's scale halved"].make(), laws=["exact"])
