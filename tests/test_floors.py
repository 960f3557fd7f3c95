"""The architecture, as far as a program can check it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import ppl_models

ROOT = Path(ppl_models.__file__).parent
FLOORS = {
    "errors": 0,
    "datasets": 0,
    "evaluation": 0,
    "distributions": 1,
    "nn": 1,
    "families": 2,
    "inference": 3,
    "reports": 4,
    "cli": 5,
}
FORBIDDEN = {"utils", "helpers", "common", "base", "core", "manager"}
FILES = [path for path in ROOT.rglob("*.py") if "data" not in path.relative_to(ROOT).parts]


def module(path: Path) -> str:
    return ".".join(("ppl_models", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    return {
        name
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }


def floor(name: str) -> int:
    return FLOORS[name.split(".")[1]] if "." in name else max(FLOORS.values()) + 1


def test_no_file_imports_a_higher_floor():
    upward = [
        (module(path), name)
        for path in FILES
        for name in imports(path)
        if name.startswith("ppl_models.") and floor(name) > floor(module(path))
    ]
    assert upward == []


def test_no_import_cycle():
    modules = {module(path) for path in FILES}
    graph = {module(path): {name for name in imports(path) if name in modules} - {module(path)} for path in FILES}
    assert list(TopologicalSorter(graph).static_order())


def test_evaluation_knows_neither_torch_nor_pyro_nor_any_other_floor():
    names = {
        name.split(".")[0] if not name.startswith("ppl_models") else name
        for path in (ROOT / "evaluation").glob("*.py")
        for name in imports(path)
    }
    assert not names & {"torch", "pyro"}
    assert all(name.startswith(("ppl_models.evaluation", "ppl_models.errors")) for name in names if "ppl_" in name)


def test_inference_knows_no_member_of_the_families():
    members = {"naive_bayes", "gaussian_mixture", "autoencoder", "vae", "mixture"}
    known = {name.split(".")[-1] for path in (ROOT / "inference").glob("*.py") for name in imports(path)}
    assert not known & members


def test_no_file_is_named_after_nothing():
    assert not {path.stem for path in FILES} & FORBIDDEN


def test_no_file_is_longer_than_300_lines():
    assert [path.name for path in FILES if len(path.read_text().splitlines()) > 300] == []


def test_the_surface_has_at_most_16_names():
    assert len(ppl_models.__all__) <= 16


def test_nothing_uses_the_global_store():
    words = ("pyro.param(", "pyro.module(", "pyro.optim", "autoguide", "set_rng_seed")
    assert [
        (path.name, word) for path in FILES for word in words if word in path.read_text() and path.name != "family.py"
    ] == []
