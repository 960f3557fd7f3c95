"""What does each part of a VAE's loss do? Reconstruction alone, KL alone and both, on binary digits in a plane."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from scipy import stats

import ppl_models as ppl
from ppl_models.datasets import Prepared, prepare_split
from ppl_models.evaluation import active_units, realism, representation
from ppl_models.inference import Gradient, elbo_parts
from ppl_models.inference.objectives import Objective
from ppl_models.nn import Dense
from ppl_models.reports.latent import RADIUS, code_planes, decoded_planes
from ppl_models.scripts import OutputDir, Quick, Seed, script

ALONE = {"reconstruction alone": Objective(kl=0.0), "KL alone": Objective(reconstruction=0.0)}
QUANTILES = torch.tensor(stats.norm.ppf(np.linspace(0.04, 0.96, 12)), dtype=torch.float32)


def line(family: ppl.VAE, parts: Prepared, *, seed: int) -> dict[str, float]:
    """What the held-out rows say of one model."""
    found, pixels = elbo_parts(family, parts.test, seed=seed, particles=50), list(family.schema.names)
    codes, trained = (family.encode(rows).numpy() for rows in (parts.test, parts.train))
    labels = {"train_labels": parts.train.labels.numpy(), "test_labels": parts.test.labels.numpy()}
    told = representation(trained, test_codes=codes, **labels).loc["nearest neighbours"]
    drawn = ppl.sample(family, len(codes), seed=seed)[pixels].to_numpy(float)
    auc = realism(drawn, parts.frames.test[pixels].to_numpy(float), seed=seed, classifiers=["forest"]).iloc[0]
    table = {name: getattr(found, name) for name in ("reconstruction", "kl", "elbo")}
    table = {name: part.mean for name, part in table.items()} | {f"{name}_se": part.se for name, part in table.items()}
    table |= {"active units": active_units(codes)["active"].sum(), "auc": auc["auc"], "auc_se": auc["se"]}
    table["codes in the circle"] = (np.hypot(*codes.T) < RADIUS).mean()
    return table | {"told": told["accuracy"], "told_se": told["se"], "chance": told["chance"]}


def words(name: str, row: pd.Series, shares: float) -> str:
    """What one model's line means; every judgement is a comparison of its numbers."""
    text = f"{name[0].upper()}{name[1:]}: reconstruction {row.reconstruction:.1f} nats a row, KL {row.kl:.2f}, "
    text += f"ELBO {row.elbo:.1f}: {'worse' if row.elbo < shares else 'better'} than the pixels' shares, {shares:.1f}. "
    knows, inside = row.told > row.chance + 3 * row.told_se, row["codes in the circle"]
    text += f"Its plane {'tells' if knows else 'does not tell'} digits apart ({row.told:.0%} told by their neighbours, "
    text += f"{row.chance:.0%} by chance; {row['active units']:.0f} of 2 units active). {inside:.0%} of codes are in "
    text += f"the prior's 90 % circle: it draws {'mostly where few' if inside < 0.45 else 'where'} rows are. A forest "
    return text + f"tells draws from held-out rows with an AUC of {row.auc:.2f} (0.5 is ideal)."


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/losses"), quick: Quick = False) -> None:
    """Train three VAEs that differ in what they climb, and lay their latent planes side by side."""
    started, table = perf_counter(), ppl.load("digits_binary")
    parts = prepare_split(table.frame, table.schema, seed=seed, stratify="digit")
    corners = torch.stack(torch.meshgrid(QUANTILES, QUANTILES, indexing="xy"), -1)
    lines, codes, grids = {}, {}, {}
    for name, objective in (ALONE | {"both": Objective()}).items():
        family = ppl.VAE(table.schema, latent=2, network=Dense((64 if quick else 128,)))
        method = Gradient(steps=300 if quick else 1500, check_every=150, objective=objective)
        ppl.fit(family, parts.train, parts.validation, seed=seed, method=method)
        lines[name], codes[name] = line(family, parts, seed=seed), family.encode(parts.test).numpy()
        grids[name] = family.decode(corners).numpy().reshape(*corners.shape[:2], 8, 8)
    one_class = ppl.fit(ppl.NaiveBayes(table.schema, labelled=False), parts.train, seed=seed).family
    shares, found = ppl.log_density(one_class, parts.test).elpd, pd.DataFrame(lines).T.rename_axis("climbed")
    summary = " ".join(words(name, row, shares) for name, row in found.iterrows())
    report = ppl.Report("Losses: what does each part do?", summary=summary, seed=seed)
    report.data(table.name, parts.test.checksum, len(parts.test))
    caption = "Held-out rows: reconstruction, KL and ELBO, nats per row, and their Monte Carlo errors (se)."
    report.table("parts", found.loc[:, :"elbo_se"], caption=caption, digits=4)
    caption = "Units in use; codes within the circle; digits told by neighbours' labels; AUC of a forest that tells "
    report.table("planes", found.loc[:, "active units":], caption=caption + "draws from held-out rows, 0.5 is ideal.")
    shown = f"Where {len(parts.test)} held-out digits are encoded, by digit; the circle holds 90 % of the prior."
    report.figure("codes", code_planes(codes, parts.test.labels.numpy(), names=range(10)), caption=shown, alt=shown)
    shown = "What each plane decodes to, from the prior's 4 % to its 96 % quantile across and up."
    report.figure("planes", decoded_planes(grids), caption=shown, alt=shown)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
