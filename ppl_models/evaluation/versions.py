"""Which versions numbers come from: of Python and packages, and which of ArviZ's two faces is there."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """A package's version, or that it is not installed.

    Args:
        package: as pip calls it.

    >>> version_of("no-such-package")
    'not installed'
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of some packages.

    Args:
        packages: as pip calls them.
    """
    return {"python": platform.python_version()} | {name: version_of(name) for name in packages}


def arviz_is_modular() -> bool:
    """Whether ArviZ is 1.0 or later, which is made of packages of its own and knows no ``InferenceData``."""
    return int(version("arviz").split(".")[0]) >= 1
