"""The architecture, as far as a program can check it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import ppl_models
from ppl_models.commands.options import FAMILIES

ROOT = Path(ppl_models.__file__).parent
FLOORS = {
    "errors": 0,
    "datasets": 0,
    "evaluation": 0,
    "distributions": 1,
    "linear": 1,
    "nn": 1,
    "recurrent": 1,
    "families": 2,
    "inference": 3,
    "reports": 4,
    "explorer": 4,
    "verify": 4,
    "estimators": 4,
    "commands": 5,
    "cli": 5,
    "__main__": 5,
    "scripts": 5,
    "pytest_plugin": 5,
}
FORBIDDEN = {"utils", "helpers", "common", "base", "core", "manager"}
FILES = [path for path in ROOT.rglob("*.py") if "data" not in path.relative_to(ROOT).parts]


def module(path: Path) -> str:
    return ".".join(("ppl_models", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {
        name
        for node in nodes
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }


def imported_names(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


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


def test_inference_and_reports_know_no_member_of_the_families():
    members = {kind.__name__ for kind in FAMILIES.values()}
    files = [path for folder in ("inference", "reports", "evaluation") for path in (ROOT / folder).glob("*.py")]
    assert not {name for path in files for name in imported_names(path)} & members


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
