"""What would someone wear next? Naive Bayes without a label, learned from 50 outfits, makes outfits nobody wore."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ppl_models import NaiveBayes, Report, fit, load, log_density, prepare, sample
from ppl_models.inference import fit_doubts, parameter_draws
from ppl_models.reports import check_section, parameter_section, sample_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

ASKED = pd.DataFrame(
    {
        "top": ["ShortHairShortFlat", "LongHairBun"],
        "hair_colour": "Black",
        "accessories": "Sunglasses",
        "clothing": "Overall",
        "clothing_colour": "White",
    }
)


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/wrodl"), quick: Quick = False) -> None:
    """Learn each column's categories, one added to every count, and draw new outfits."""
    started = perf_counter()
    table = load("wrodl")
    preparation = prepare(table.frame, table.schema)
    rows = preparation(table.frame)
    found = fit(NaiveBayes(table.schema), rows, seed=seed)

    def with_probability(outfits: pd.DataFrame) -> pd.DataFrame:
        """Outfits with their exact probability and how often each was seen."""
        seen = table.frame.astype(str).value_counts().rename("times seen")
        outfits = outfits.astype(str)
        chance = np.exp(log_density(found.family, preparation(outfits)).values)
        counted = outfits.merge(seen.reset_index(), how="left").fillna({"times seen": 0})
        return counted.assign(probability=chance).astype({"times seen": int})

    drawn = sample(found.family, 12, seed=seed)
    worn = with_probability(table.frame.drop_duplicates())
    unseen = 1 - worn["probability"].sum()
    possible = int(np.prod([column.cardinality for column in table.schema.columns]))
    asked = with_probability(ASKED)
    summary = (
        f"{len(worn)} different outfits were seen among {len(rows)}; the model holds {possible:,} possible and gives "
    )
    summary += (
        f"those never seen {unseen:.1%} of the probability. The one asked for with LongHairBun, which nobody wears, "
    )
    summary += f"has probability {asked['probability'][1]:.2e}, not 0."
    report = Report("Wrodl: outfits nobody wore", summary=summary, seed=seed)
    report.data(f"{table.name}, training", rows.checksum, len(rows))
    report.table("new", with_probability(drawn), caption="Twelve new outfits with their probabilities.", digits=7)
    caption = "Two outfits never seen; with one added to every count the first's probability is 12/57 · 8/56 · 18/53 · "
    report.table("asked", asked, caption=caption + "19/54 · 7/58.", digits=8)
    text = (
        f"The ELBO, {found.elbo:.4f} nats an outfit, is the exact log evidence: the guide holds the posterior itself."
    )
    report.text("The evidence", text)
    report.check("how fits ended", fit_doubts(found))
    parameter_section(report, parameter_draws(found.family, 400 if quick else 4000, seed=seed))
    many = sample(found.family, 100 * len(rows) if quick else 1000 * len(rows), seed=seed + 1)
    called = {"kinds": table.schema.kinds, "rows": f"the {len(rows)} outfits"}
    sample_section(report, many, table.frame, **called)
    check_section(report, many, table.frame, **called)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
