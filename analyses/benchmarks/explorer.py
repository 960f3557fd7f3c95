"""How long does the explorer's page take to decode a point, and how large is it? In Chromium, for digits."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from ppl_models import VAE, load, prepare
from ppl_models.explorer import write_explorer
from ppl_models.nn import Convolutional, Dense
from ppl_models.scripts import Quick, Seed, script

NETWORKS = {"dense": Dense((256,)), "convolutional": Convolutional((16, 32), (128,))}
TIMES = (
    "(number) => Array.from({ length: number }, () => { const z = explorer.state().z; const start = performance.now(); "
    "explorer.decode(z); return performance.now() - start; })"
)


def main(*, seed: Seed = 0, quick: Quick = False) -> None:
    """Print the median over decodes, and the size of the page."""
    table, lines = load("digits_binary"), {}
    rows = prepare(table.frame, table.schema)(table.frame)
    with sync_playwright() as browsers, tempfile.TemporaryDirectory() as folder:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
        for name, network in NETWORKS.items():
            family = VAE(table.schema, latent=8, network=network)
            family.adopt(rows)
            family.initialise(rows, seed=seed)
            path = write_explorer(family.eval(), rows, Path(folder, f"{name}.html"), seed=seed)
            page = browser.new_page()
            page.goto(path.as_uri())
            times = np.array(page.evaluate(TIMES, 20 if quick else 1000))
            lines[name] = {"median_ms": np.median(times), "highest_ms": times.max(), "kB": path.stat().st_size / 1000}
    print(pd.DataFrame(lines).T.round(2).to_string())


if __name__ == "__main__":
    script(main)
