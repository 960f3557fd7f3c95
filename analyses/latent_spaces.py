"""Is a latent space representative, realistic and smooth? Four autoencoders of the same digits, all else equal."""

from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, t

import ppl_models as ppl
from ppl_models import datasets, evaluation, families, inference, nn, reports
from ppl_models.scripts import OutputDir, Quick, Seed, script

MODELS = {"autoencoder": (ppl.Autoencoder, 1.0), "VAE": (ppl.VAE, 1.0), "beta-VAE": (ppl.VAE, 4.0)}  # the KL's weight
MODELS |= {"contractive": (partial(families.ContractiveAutoencoder, contraction=1.0), 1.0)}
IDEAL, POINTS = {"probe": 1, "neighbours": 1, "auc": 0.5, "gap": 0, "length": 1, "step": 1}, 17


def simulated(seed: int) -> pd.DataFrame:
    """The measures on codes of two classes, draws and a path, made so that the right answer follows (law)."""
    random, labels, at, tables = np.random.default_rng(seed), np.arange(1000) % 2, np.linspace(0, 1, POINTS), []
    paths = (at, 1, 1), (np.exp(1j * np.pi * at), 16 * np.sin(np.pi / 32), 1), (at > 0.5, 1, 16)
    for loc, shift, (path, *known) in zip((4.0, 1.0, 0.0), (0.0, 0.5, 2.0), paths, strict=True):
        codes = random.normal(loc * labels, size=(2, 1000))[..., None]
        sides = random.normal([[[shift]], [[0.0]]], size=(2, 1000, 1))
        read = evaluation.representation(codes[0], labels, test_codes=codes[1], test_labels=labels)[["accuracy", "se"]]
        auc = evaluation.realism(*sides, seed=seed, classifiers=["logistic"])
        gap = evaluation.log_density_gap(*norm.logpdf(sides)[..., 0]).tail(1)
        even = evaluation.smoothness(np.stack([path.real, path.imag], 1)[None].astype(float))[["mean", "se"]]
        law = [norm.cdf(loc / 2)] * 2 + [norm.cdf(shift / 2**0.5), 0 - shift**2 / 2, *known]
        tables.append(pd.DataFrame(np.concatenate([read, auc, gap, even]), [*IDEAL], ["found", "se"]).assign(law=law))
    return pd.concat(tables, keys=["good", "middling", "poor"], names=["made", "measure"])


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/latent_spaces"), quick: Quick = False) -> None:
    """Set representation, realism and smoothness of four latent spaces side by side, over seeds."""
    table, lines, last, seeds = ppl.load("digits_binary"), {}, {}, range(seed, seed + 5 - 3 * quick)
    for each in seeds:
        parts = datasets.prepare_split(table.frame, table.schema, seed=each, stratify="digit")
        density = ppl.fit(ppl.NaiveBayes(table.schema), parts.train, seed=each).family
        for name, (maker, kl) in MODELS.items():
            method = inference.Gradient(steps=1000 - 900 * quick, objective=inference.Objective(kl=kl))
            family = maker(table.schema, latent=8, network=nn.Dense((64,)))
            last[name] = family = ppl.fit(family, parts.train, parts.validation, seed=each, method=method).family
            read = inference.label_readout(family, parts.train, test=parts.test)["accuracy"]
            sides = parts.preparation(ppl.sample(family, len(parts.test), seed=each)), parts.test
            auc = evaluation.realism(*map(inference.as_numbers, sides), seed=each, classifiers=["forest"])["auc"]
            gap = evaluation.log_density_gap(*(ppl.log_density(density, side).values for side in sides))["mean"].tail(1)
            paths = inference.decoded_paths(family, parts.test, pairs=200, steps=POINTS, seed=each)
            chord = np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1).mean()
            lines[name, each] = [*read, *auc, *gap, *evaluation.smoothness(paths)["mean"], chord]
    found = pd.DataFrame(lines, [*IDEAL, "chord"]).T.rename_axis(["model", "seed"])
    means, errors = (getattr(found.groupby("model", sort=False), what)() for what in ("mean", "sem"))
    apart = {pair: found.loc[pair[0]] - found.loc[pair[1]] for pair in permutations(MODELS, 2)}
    apart = pd.DataFrame({pair: part.mean() / part.sem() for pair, part in apart.items()}).T
    text = f"Paths of {means['chord'].idxmin()} end {means['chord'].min():.2f} apart, none nearer. Closest to ideal:"
    report = ppl.Report("Latent spaces", summary=text, seed=seed)
    for name, ideal in IDEAL.items():
        best = (means[name] - ideal).abs().idxmin()
        level = [other for other in MODELS if other != best and not abs(apart.at[(best, other), name]) > 2]
        report.summary += f" {name} {means.at[best, name]:.3g}, {' and '.join([best, *level])}."
    text = "Held-out rows, means over seeds. Digits that a plane (probe) and neighbours read off codes; a forest that "
    text += "tells draws from rows; their gap in nats under naive Bayes; length over chord, largest over mean step."
    report.table("virtues", means.join(errors.add_suffix("_se")), caption=text)
    text = f"Differences in their standard errors: rows differ beyond 2, by chance {2 * t.sf(2, len(seeds) - 1):.0%}."
    report.table("pairs", apart.rename_axis(["model", "less"]), caption=text, digits=1)
    shown = {"held-out digits": inference.images_of(parts.test[:POINTS])}
    for name, family in last.items():
        path = evaluation.interpolate(*inference.encode(family, parts.test[:2]).to_numpy(), steps=POINTS, kind="linear")
        shown[f"{name}: from the first to the second"] = inference.decode_images(family, path)
        shown[f"{name}: drawn"] = inference.images_of(parts.preparation(ppl.sample(family, POINTS, seed=seed)))
    text = "Straight paths between codes, and draws. Autoencoders are trained on log p(x, z), so they have a prior too."
    report.figure("paths", reports.image_grid(shown, columns=POINTS), caption=text, alt=text)
    report.table("simulated", simulated(seed), caption="Spaces made so that the right answer is known (law).")
    report.write(output_dir)


if __name__ == "__main__":
    script(main)
