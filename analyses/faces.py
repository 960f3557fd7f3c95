"""Can a smile be added to a face? The mean difference that smiling makes to a code, given to people never seen."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import pandas as pd
import typer
from face_images import pairs, rows
from face_moves import STRENGTHS, facts, fold
from face_tables import ENOUGH, chosen, likeness, shares
from sklearn.model_selection import KFold

from ppl_models import Report
from ppl_models.reports import image_grid
from ppl_models.scripts import OutputDir, Quick, Seed, script

FILE = Path(__file__).parents[2] / "shared/data/faces_london/london_faces_64x64_gray.npz"
LOW, HIGH = 0.2, 0.8  # the probe's probability before and after
Data = Annotated[Path, typer.Option(help="Neutral and smiling faces (npz); binary digits where it is missing.")]


def main(
    *, seed: Seed = 0, output_dir: OutputDir = Path("results/faces"), quick: Quick = False, data: Data = FILE
) -> None:
    """Add and take away what people held out lack and have, and ask a probe what it sees."""
    started, (images, concept, source) = perf_counter(), pairs(data)
    folds, moves, alike, shown = [], [], [], []
    splits = KFold(2 if quick else 5, shuffle=True, random_state=seed).split(images)
    for number, (train, test) in enumerate(splits):
        found = fold(images, train, seed=seed, steps=800 if quick else 1600)
        folds.append(facts(found, images, test))
        moves.append(found.moves().assign(fold=number, held_out=lambda each, test=test: each["person"].isin(test)))
        shown.append(found.pictures(test))
        alike.append(likeness(shown[-1], images[test, 1], (0, *STRENGTHS)))
    asked = pd.concat(moves).query("before < @LOW").assign(moved=lambda each: each["after"] > HIGH)
    strengths = chosen(asked)
    held_out = asked[asked["held_out"]].join(strengths, on=["move", "fold"])
    at = {"1": held_out["strength"] == 1, "chosen": held_out["strength"] == held_out["chosen"]}
    table = pd.concat({name: shares(held_out[part], ["move"]) for name, part in at.items()}, names=["strength"])
    best = (row for row in table.itertuples() if row.Index[0] == "chosen")
    parts = (f"{row.Index[1]}, {row.moved} of {row.asked} ({row.low:.0%} to {row.high:.0%})" for row in best)
    summary = f"{source}What a probe finds less than {LOW:.0%} probable of held-out people is more than {HIGH:.0%} "
    summary += f"probable once they are moved, as strongly as suits training people: {concept} {'; '.join(parts)}."
    report = Report(f"Faces: can a {concept} be added?", summary=summary, seed=seed)
    report.data("images", found.family.preparation(rows(images).frame).checksum, 2 * len(images))
    text = "Strength 1 is the mean difference of training people's codes with and without; the one chosen is the least "
    text += f"that moves {ENOUGH:.0%} of training people. se is binomial, low and high are Wilson's 95 % interval."
    report.table("moved", table, caption=text)
    text = f"People held out: an original, decoded as it is and with the {concept} added, and the original that has it."
    some = [images[test, 0], *shown[-1][[0, 2, 4, 6]], images[test, 1]]
    names = ["original", "decoded", *(f"{concept}, strength {each}" for each in (1, 2, 3)), f"original with {concept}"]
    figure = image_grid({name: block[:8] for name, block in zip(names, some, strict=True)}, columns=8)
    report.figure("smile", figure, caption=text, alt=text)
    text = "Distance (rmse) from the person's own original with the concept; how much nearer it is than "
    text += "the one decoded as it is; share of people whose own is the nearest in the split. Means over splits."
    report.table("likeness", pd.concat(alike).groupby("strength").agg(["mean", "sem"]), caption=text)
    text = (
        "People held out, at every strength. Where decoder and probe are linear, as for faces, a move adds as much to "
    )
    text += "the log odds of each person, so that this is no test of the picture; the table above is."
    report.table("strengths", shares(held_out, ["move", "strength"]), caption=text)
    text = "Splits of the people. probe: its accuracy on images of people held out; rmse where white is 1 and black 0; "
    text += "length of the concept's vector, norm of its bootstrap standard errors, and mean length by chance."
    chosen_here = strengths.unstack("move").add_prefix("strength ")
    report.table("splits", pd.DataFrame(folds).join(chosen_here), caption=text)
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
