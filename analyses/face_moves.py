"""What ``faces.py`` asks of one split of the people: a VAE and a probe of some, and what moved codes make of all."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from face_images import learned, rows
from sklearn.pipeline import Pipeline

from ppl_models import VAE
from ppl_models.evaluation import ConceptVector, concept_vector, transfer
from ppl_models.inference import decode_images, encode

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)


@dataclass(frozen=True)
class Fold:
    """What training people taught, and everyone's codes, (people, without and with, latent)."""

    family: VAE
    probe: Pipeline
    codes: np.ndarray
    concept: ConceptVector
    lender: np.ndarray  # a training person's codes for everyone

    def said(self, images: np.ndarray) -> np.ndarray:
        """The probe's probability of the concept, image by image."""
        return self.probe.predict_proba(images.reshape(len(images), -1))[:, 1]

    def lent(self, z: np.ndarray, *, strength: float) -> np.ndarray:
        """Codes with the difference that one training person makes."""
        return transfer(z, without=self.lender[:, 0], having=self.lender[:, 1], strength=strength)

    def pictures(self, people: np.ndarray) -> np.ndarray:
        """(strengths from 0, people, height, width), the concept added to those without it."""
        moved = [self.concept.apply(self.codes[people, 0], strength=strength) for strength in (0, *STRENGTHS)]
        return decode_images(self.family, np.stack(moved))

    def moves(self) -> pd.DataFrame:
        """The probability of what a move is after, before and after it, a line a person and strength."""
        moves = {"added": (0, self.concept.apply), "taken away": (1, self.concept.reverse().apply)}
        found = []
        for name, (side, move) in (moves | {"lent by one person": (0, self.lent)}).items():
            before = abs(side - self.said(decode_images(self.family, self.codes[:, side])))
            for strength in STRENGTHS:
                after = abs(side - self.said(decode_images(self.family, move(self.codes[:, side], strength=strength))))
                line = {"move": name, "strength": strength, "person": range(len(before))}
                found.append(pd.DataFrame(line | {"before": before, "after": after}))
        return pd.concat(found, ignore_index=True)


def fold(images: np.ndarray, train: np.ndarray, *, seed: int, steps: int) -> Fold:
    """Learn from training people, and encode everyone."""
    family, probe = learned(images[train], seed=seed, steps=steps)
    codes = encode(family, family.preparation(rows(images).frame)).to_numpy().reshape(*images.shape[:2], -1)
    has, lenders = np.tile([False, True], len(train)), np.random.default_rng(seed).choice(train, len(images))
    concept = concept_vector(np.concatenate(codes[train]), has, groups=np.repeat(train, 2), seed=seed)
    return Fold(family, probe, codes, concept, codes[lenders])


def facts(found: Fold, images: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """How well people held out are told and rebuilt, and how long the concept's vector is."""
    rebuilt = decode_images(found.family, found.codes)
    off = ((rebuilt - images) ** 2).mean(axis=(1, 2, 3))
    right = {
        name: np.mean([abs(found.said(shown[test, side]) - side) < 0.5 for side in (0, 1)])
        for name, shown in {"probe, originals": images, "probe, rebuilt": rebuilt}.items()
    }
    errors = {"rmse, training": np.delete(off, test).mean() ** 0.5, "rmse, held out": off[test].mean() ** 0.5}
    concept = found.concept
    lengths = {"length": concept.length, "se": np.linalg.norm(concept.se), "by chance": concept.permuted.mean()}
    return {"people": len(test), **right, **errors, **lengths, "p_value": concept.p_value}
