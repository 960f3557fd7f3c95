"""What every test shares."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyro
import pytest
import torch

pytest_plugins = ["ppl_models.pytest_plugin", "pytester"]  # the first by name, once types are watched over


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    """Pyro's global store is empty after every test: no family keeps anything there."""
    torch.set_num_threads(1)
    yield
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert left == []


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: object, place: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    """Open the module's ``place``, told its ``LISTEN`` first if it has one; nothing may reach console or network."""
    contexts, told, listen = [], [], getattr(request.module, "LISTEN", None)

    def opened(*, scheme: str = "light", width: int = 1100, script: bool = True) -> object:
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(color_scheme=scheme, viewport=size, java_script_enabled=script))
        page = contexts[-1].new_page()
        if listen is not None:
            page.add_init_script(listen)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: request.url == place.as_uri() or told.append(request.url))
        page.goto(place.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert told == []
