"""The images of ``faces.py``, of each person one neutral and one smiling, and what is learned from some of them."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ppl_models import VAE, fit, load, prepare
from ppl_models.datasets import Table, image_table
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.errors import InputError
from ppl_models.inference import Gradient
from ppl_models.nn import Dense

SHIFTS = [(down, right) for down in range(-9, 10) for right in range(-3, 4)]


def pairs(file: Path) -> tuple[np.ndarray, str, str]:
    """Images (people, without and with, height, width), what the second have, and what they are."""
    if file.is_file():
        try:
            faces = np.load(file)
            both = np.stack([faces["neutral"], faces["smiling"]], axis=1).reshape(-1, 64, 64) / 255
        except (ValueError, LookupError, EOFError, BadZipFile) as error:
            raise InputError(
                f"{file}: expected 64 by 64 images, neutral and smiling, in an npz, got {error}"
            ) from error
        fitted = registered(both)[:, 6:62, 4:60].reshape(-1, 2, 28, 2, 28, 2)
        return fitted.mean(axis=(3, 5)), "smile", "Faces, their eyes laid over one another, 28 by 28 pixels. "
    digits = load("digits_binary").frame
    threes, eights = (digits.loc[digits["digit"] == digit].iloc[:170, :64].to_numpy() for digit in (3, 8))
    text = f"No {file}: on binary digits instead. What makes an 8 of a 3 is added; a person is a 3 and any 8. "
    return np.stack([threes, eights], axis=1).reshape(-1, 2, 8, 8), "eight", text


def registered(images: np.ndarray) -> np.ndarray:
    """Images (rows, 64, 64) shifted by whole pixels, so that their eyes and noses fit the mean of all.

    In these photographs smiling heads stand some five pixels lower, which would pass for part of the smile.
    """
    padded, found = np.pad(images, ((0, 0), (9, 9), (3, 3)), mode="edge"), images
    for _ in range(4):
        middle = standardised(found[:, 20:44, 12:52].mean(axis=0))
        there = [standardised(padded[:, 29 + down : 53 + down, 15 + right : 55 + right]) for down, right in SHIFTS]
        best = np.argmin([((each - middle) ** 2).mean(axis=(1, 2)) for each in there], axis=0)
        places = zip(padded, (SHIFTS[index] for index in best), strict=True)
        found = np.stack([image[9 + down : 73 + down, 3 + right : 67 + right] for image, (down, right) in places])
    return found


def standardised(images: np.ndarray) -> np.ndarray:
    """Each image less its mean, over its standard deviation."""
    less = images - images.mean(axis=(-1, -2), keepdims=True)
    return less / less.std(axis=(-1, -2), keepdims=True)


def bits(images: np.ndarray) -> bool:
    """Whether there is nothing but black and white."""
    return bool(np.isin(images, (0, 1)).all())


def rows(images: np.ndarray) -> Table:
    """A row an image, person by person."""
    kind = "binary" if bits(images) else "real"
    return image_table(images.reshape(-1, *images.shape[2:]), pixels=kind)


def learned(images: np.ndarray, *, seed: int, steps: int) -> tuple[VAE, Pipeline]:
    """A VAE, and a probe that tells from pixels how probably an image has the concept, both from these people alone."""
    table = rows(images if bits(images) else np.concatenate([images, images[..., ::-1]]))  # mirrored faces are faces
    # of so few images hidden layers learn the people, and rebuild others less well than linear ones do
    network, likelihoods = Dense((), hide=0.1), DecoderLikelihoods(scale="column")
    family = VAE(table.schema, latent=60, network=network, likelihoods=likelihoods)
    method = Gradient(steps=steps, batch_size=64, learning_rate=1e-3, check_every=200)
    fit(family, prepare(table.frame, table.schema)(table.frame), seed=seed, method=method)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))  # C of a good log score, held out
    return family, probe.fit(images.reshape(2 * len(images), -1), np.tile([False, True], len(images)))
