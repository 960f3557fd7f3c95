"""Do strides keep where a thing is, and pooling only what it is? One object in each image, two ways to halve it."""

from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor

import ppl_models as ppl
from ppl_models.datasets import image_table, prepare_split
from ppl_models.evaluation import representation
from ppl_models.inference import Gradient
from ppl_models.nn import Convolutional
from ppl_models.reports import image_grid
from ppl_models.reports.latent import paired_dots
from ppl_models.scripts import OutputDir, Quick, Seed, script

SIZE, ROWS, SHOWN = 12, 1200, 24
SHAPES = {"ring": np.pad(np.zeros((2, 2)), 1, constant_values=1), "cross": np.fmax(np.eye(4), np.eye(4)[::-1])}
DEPTHS = {"2 halvings": (4, 8), "4 halvings": (4, 8, 8, 8)}  # what is left of the image: 3 by 3, or 1 by 1
PROBES = {"ridge": RidgeCV(np.logspace(-4, 3, 8)), "neighbours": KNeighborsRegressor(5)}
MEASURES = {"ridge": "place by ridge, pixels", "neighbours": "place by neighbours, pixels"}
MEASURES |= {"decoded": "place of the decoded mass, pixels", "shape": "shape by linear probe, share right"}
SETTINGS = f"""{ROWS} images of {SIZE} by {SIZE}, a ring or cross of 4 by 4 at any place; codes of 4. Tried before
and set aside as slow: VAEs, one or two seeds, 16 by 16, three shapes, channels (4, 8), (8, 16), or four of 8 to 16."""


def measured(network: Convolutional, *, seed: int, steps: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What an autoencoder's codes tell of held-out images, with some of these images, before and after."""
    random, images = np.random.default_rng(seed), np.zeros((ROWS, SIZE, SIZE))
    names, corners = random.choice(list(SHAPES), ROWS), random.integers(0, SIZE - 3, (ROWS, 2))
    for image, name, (row, column) in zip(images, names, corners, strict=True):
        image[row : row + 4, column : column + 4] = SHAPES[name]
    table = image_table(images, pixels="binary", labels=names)
    parts = prepare_split(table.frame, table.schema, seed=seed)
    family = ppl.Autoencoder(table.schema, latent=4, network=network)
    ppl.fit(family, parts.train, seed=seed, method=Gradient(steps=steps, batch_size=64, learning_rate=1e-2))
    train, test = (family.encode(rows).double() for rows in (parts.train, parts.test))
    before, where = (corners[frame.index] for frame in (parts.frames.train, parts.frames.test))
    mass = family.decode(test).numpy().reshape(-1, SIZE, SIZE)
    centres = np.stack([mass.sum(2), mass.sum(1)], 1) @ np.arange(SIZE) / mass.sum((1, 2))[:, None]
    told = {name: probe.fit(train, before).predict(test) for name, probe in PROBES.items()}
    told |= {"decoded": centres - 1.5, "chance": np.broadcast_to(before.mean(0), where.shape)}
    labels = {f"{name}_labels": getattr(parts, name).labels.numpy() for name in ("train", "test")}
    shape = representation(train.numpy(), test_codes=test.numpy(), **labels)["accuracy"]
    found = {name: np.abs(place - where).mean() for name, place in told.items()} | {"shape": shape["linear probe"]}
    return found, {"held out": images[parts.frames.test.index[:SHOWN]], "decoded": mass[:SHOWN]}


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/strides"), quick: Quick = False) -> None:
    """Train autoencoders that halve images by strides or by max pooling, and read place and shape off their codes."""
    started, found, shown = perf_counter(), {}, {}
    seeds, steps = range(seed, seed + (2 if quick else 5)), 40 if quick else 250
    for depth, way, each in product(DEPTHS, ("stride", "pool"), seeds):
        network = Convolutional(channels=DEPTHS[depth], hidden=(32,), downsampling=way)
        found[depth, way, each], images = measured(network, seed=each, steps=steps)
        shown |= {"held out": images["held out"], f"{depth}, {way}": images["decoded"]} if each == seed else {}
    table = pd.DataFrame(found).T.rename_axis(index=["depth", "way", "seed"], columns="measure")
    groups, sides = table.groupby(["depth", "way"], sort=False), table[list(MEASURES)] * [-1, -1, -1, 1]
    gains = (sides.xs("stride", level="way") - sides.xs("pool", level="way")).stack()
    gains = gains.groupby(["depth", "measure"], sort=False).agg(["mean", "sem"]).set_axis(["gain", "se"], axis=1)
    ahead = (gains["gain"] / gains["se"]).map(lambda t: "strides" if t > 2 else "pooling" if t < -2 else "neither")
    told = "; ".join(f"{measure} after {depth}: {way}" for (depth, measure), way in ahead.items())
    report = ppl.Report("Strides or pooling: where, and what?", summary=f"Ahead by two errors: {told}.", seed=seed)
    report.text("The settings", SETTINGS)
    caption = "Held out: mean absolute error of place (chance: the mean place), pixels; share of shapes told; by seeds."
    report.table("errors", groups.mean().join(groups.sem().add_suffix("_se")), caption=caption)
    report.table("gains", gains, caption="How far strides are ahead: pixels, of shape a share; se over seeds.")
    shown_as = "Held out, a line a seed: errors of place, and the share of shapes told rightly."
    report.figure("seeds", paired_dots(table, MEASURES), caption=shown_as, alt=shown_as)
    shown_as = "Held-out images of the first seed, and what each autoencoder makes of them."
    report.figure("images", image_grid(shown, columns=SHOWN), caption=shown_as, alt=shown_as)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
