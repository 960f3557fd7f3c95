"""Floor 5: the laws of the ELBO in a user's own tests. A pytest plugin that does nothing until a test asks for it.

One test a law, of a pair or a log density that a function makes:

    @pytest.mark.elbo_laws(make_pair, exempt={"gradients": "the prior's scale is fixed"})
    def test_my_pair(law):
        law()

or all laws at once, as a function that returns their verdict:

    def test_my_pair(verify_elbo):
        verify_elbo(make_pair()).require()

The marker takes what ``ppl_models.verify.verify`` takes: ``seed``, ``draws``, ``alarms`` and ``laws``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ppl_models.verify import Finding, Verdict

MARKER = (
    "elbo_laws(make, *, seed=0, draws=256, alarms=1e-3, laws=None, exempt={}): run the laws of the ELBO on the pair, "
    "or the log density, that make() returns, one test a law; exempt names laws that do not hold, and why"
)
_VERDICTS: dict[object, "Verdict"] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a law for each test that is marked and asks for ``law``."""
    marker = metafunc.definition.get_closest_marker("elbo_laws")
    if marker is None or "law" not in metafunc.fixturenames:
        return
    from ppl_models.verify import PAIR_LAWS, SCORING_LAWS  # noqa: PLC0415  # seconds, for who uses it alone

    names = dict.fromkeys(law.name for law in (*PAIR_LAWS, *SCORING_LAWS))
    asked, exempt = marker.kwargs.get("laws") or names, marker.kwargs.get("exempt") or {}
    unknown = [name for name in (*asked, *exempt) if name not in names]
    if unknown:
        raise pytest.UsageError(f"elbo_laws: expected some of {', '.join(names)}, got {unknown[0]!r}")
    chosen = [name for name in names if name in asked]
    metafunc.parametrize("law", chosen, indirect=True)


@pytest.fixture
def verify_elbo() -> Callable[..., "Verdict"]:
    """``ppl_models.verify.verify``."""
    from ppl_models.verify import verify  # noqa: PLC0415

    return verify


@pytest.fixture
def law(request: pytest.FixtureRequest) -> Callable[[], None]:
    """What one law found of the marked test's subject, as a function that raises where it is broken."""
    marker = request.node.get_closest_marker("elbo_laws")
    if marker is None:
        raise pytest.UsageError("law: expected a test marked by elbo_laws(make), got one that is not")
    finding = _finding(marker, request.param)

    def require() -> None:
        if finding is None or finding.verdict == "skipped":
            pytest.skip(finding.what[0] if finding else "a law of other subjects")
        if finding.verdict == "broken":
            pytest.fail(str(finding), pytrace=False)

    return require


def _finding(marker: pytest.Mark, name: str) -> "Finding | None":
    """What the law found; all laws of a subject are run once."""
    from ppl_models.verify import verify  # noqa: PLC0415

    options = dict(marker.kwargs)
    exempt = options.pop("exempt", None) or {}
    make = marker.args[0] if marker.args else options.pop("make")
    if name in exempt:
        pytest.skip(exempt[name])
    key = (make, *sorted((name, str(value)) for name, value in options.items()))
    if key not in _VERDICTS:
        _VERDICTS[key] = verify(make(), **options)
    return next((finding for finding in _VERDICTS[key].findings if finding.law == name), None)
