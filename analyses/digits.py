"""Who draws digits best? Naive Bayes, a mixture, an autoencoder and a VAE on the same binary pixels."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from scipy import stats

import ppl_models as ppl
from ppl_models.datasets import prepare_split
from ppl_models.inference import Gradient
from ppl_models.nn import Dense
from ppl_models.reports import comparison_section, image_grid, latent_grid
from ppl_models.scripts import OutputDir, Quick, Seed, script

SHOWN = 40
TOLD = "naive Bayes, ten digits"


def images(pixels: pd.DataFrame | torch.Tensor) -> np.ndarray:
    """Rows of 64 pixels as (rows, 8, 8) from 0 to 1."""
    return np.asarray(pixels, dtype=float).reshape(-1, 8, 8)


def answer(ratios: pd.DataFrame, mixture: str) -> str:
    """The comparison with the mixture, in words."""
    vae, told = ratios.loc["VAE"], ratios.loc[TOLD]
    text = f"On held-out binary digits the VAE is {vae['diff']:.2f} nats an image ahead of the {mixture} "
    text += f"({vae['diff'] / vae['dse']:.0f} standard errors), though its number is but a lower bound; the mixture is "
    return text + f"{-told['diff']:.2f} ahead of naive Bayes told the digits ({-told['diff'] / told['dse']:.0f})."


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/digits"), quick: Quick = False) -> None:
    """Compare held-out nats, samples and the latent plane of five models of 8 by 8 binary digits."""
    started = perf_counter()
    table = ppl.load("digits_binary")
    schema, pixels = table.schema, list(table.schema.names)
    parts = prepare_split(table.frame, schema, seed=seed, stratify="digit")
    fits = {"naive Bayes, one class": ppl.fit(ppl.NaiveBayes(schema, labelled=False), parts.train, seed=seed)}
    fits[TOLD] = ppl.fit(ppl.NaiveBayes(schema), parts.train, seed=seed)
    sizes = [ppl.fit(ppl.Mixture(schema, components=size), parts.train, seed=seed) for size in (10, 20, 30, 40)]
    best = max(sizes, key=lambda found: ppl.log_density(found.family, parts.validation).elpd)
    mixture = f"mixture of {best.family.classes}"
    fits[mixture] = best
    wide = Dense((256,))
    networks = {"VAE": ppl.VAE(schema, latent=8, network=wide), "VAE, plane": ppl.VAE(schema, latent=2, network=wide)}
    networks["autoencoder"] = ppl.Autoencoder(schema, latent=8, network=wide)
    for name, family in networks.items():
        method = Gradient(steps=300 if quick else 2000)
        fits[name] = ppl.fit(family, parts.train, parts.validation, seed=seed, method=method)
    exact_or_bound = [name for name in fits if name != "autoencoder"]
    densities = {name: ppl.log_density(fits[name].family, parts.test, seed=seed) for name in exact_or_bound}
    ratios = ppl.compare(densities, reference=mixture)
    report = ppl.Report("Digits: who draws best?", summary=answer(ratios, mixture), seed=seed)
    comparison_section(report, densities, {name: fits[name] for name in exact_or_bound}, train=parts.train)
    rebuilt = networks["autoencoder"].reconstruction_log_likelihood(parts.test).mean()
    text = f"A point mass is no density: the autoencoder has no log p(x). Its log p(x | z = encoder(x)), {rebuilt:.2f} "
    report.text("The autoencoder", text + "nats an image, leaves out what it costs to say z.")
    held_out = {"held-out digits": images(parts.frames.test[pixels].head(SHOWN))}
    drawn = {name: images(ppl.sample(found.family, SHOWN, seed=seed)[pixels]) for name, found in fits.items()}
    shown = "Forty held-out digits and forty drawn from each model."
    report.figure("samples", image_grid(held_out | drawn, columns=20), caption=shown, alt=shown)
    again = {name: images(family.decode(family.encode(parts.test[:SHOWN]))) for name, family in networks.items()}
    shown = "Held-out digits and the pixels' probabilities after encoding and decoding."
    report.figure("reconstructions", image_grid(held_out | again, columns=20), caption=shown, alt=shown)
    quantiles = torch.tensor(stats.norm.ppf(np.linspace(0.03, 0.97, 15)), dtype=torch.float32)
    corners = torch.stack(torch.meshgrid(quantiles, quantiles, indexing="xy"), -1)
    mosaic = images(networks["VAE, plane"].decode(corners)).reshape(15, 15, 8, 8)
    shown = "The latent plane: digits decoded at quantiles of the prior of two latent dimensions."
    report.figure("latent", latent_grid(mosaic, quantiles=(0.03, 0.97)), caption=shown, alt=shown)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
