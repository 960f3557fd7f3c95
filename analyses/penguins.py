"""What do penguins of unknown species teach, where one in ten is known? Three classifiers, a mixture, their answers."""

from functools import partial
from pathlib import Path
from time import perf_counter

import pandas as pd

from ppl_models import Mixture, NaiveBayes, Report, Schema, fit, infer_schema, load, prepare, read
from ppl_models.datasets import prepare_split
from ppl_models.inference import Selection, class_probabilities, parameter_draws, select_components
from ppl_models.reports.answers import anomaly_section, choice_section, hidden_cells_section, imputation_section
from ppl_models.reports.planes import class_plane
from ppl_models.reports.told import ALONE, EVERY, TOLD, few_told, told_section
from ppl_models.scripts import OutputDir, Quick, Seed, script

FILE = Path(__file__).parents[2] / "shared/data/mixtures/penguins.csv"
MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
COVARIANCES, SHARE = {"naive": "VVI", "tied": "EEE", "quadratic": "VVV"}, 0.1
MIXTURE = partial(Mixture, estimate="maximum-likelihood")


def verdict(scores: pd.DataFrame, name: str) -> str:
    """What the rows of unknown class did to a classifier; better or worse by more than two standard errors."""
    row, right = scores.loc[name, TOLD], scores["accuracy"][name]
    gain, error = row["log_score_gain"], row["log_score_gain_se"]
    word = "undecided" if abs(gain) < 2 * error else "better" if gain > 0 else "worse"
    shares = f"right {right[ALONE]:.1%}, then {right[TOLD]:.1%}; {right[EVERY]:.1%} if all are told"
    return f"{name} {word} ({shares}; log score {gain:+.3f} nats, se {error:.3f}; log p(x) {row['elpd_gain']:+.2f})"


def main(*, seed: Seed = 0, output_dir: OutputDir = Path("results/penguins"), quick: Quick = False) -> None:
    """Classify held-out penguins with a tenth of the species told, and ask what else a density can say."""
    started, table = perf_counter(), load("iris")
    frame, schema, start = table.frame, table.schema, f"No {FILE}: iris. "
    if FILE.is_file():
        frame, start = read(FILE)[["species", *MEASURES, "sex", "island"]], ""
        schema = infer_schema(frame, label="species", kinds=dict.fromkeys(MEASURES, "real"))
    label, preparation, untold = schema.label.name, prepare(frame, schema), Schema(schema.columns)
    everyone = preparation(frame)
    labels, report = everyone.labels.numpy(), Report("Penguins: one species in ten told", summary=start, seed=seed)
    families = {name: NaiveBayes(schema, covariance=covariance) for name, covariance in COVARIANCES.items()}
    scores = told_section(report, frame, families, share=SHARE, folds=2 if quick else 10, seed=seed)
    known, family = few_told(frame, label, share=SHARE, seed=seed), families["quadratic"]
    semi = preparation(frame.assign(**{label: frame[label].where(known)}))
    found = class_probabilities(fit(family, semi, seed=seed).family, semi).to_numpy().argmax(1)
    draws, shown = parameter_draws(family, 400, seed=seed), {"known": known.to_numpy(), "wrong": found != labels}
    text = "All rows as the quadratic classifier has them, a tenth told; an ellipse holds 90 % of its class."
    report.figure("plane", class_plane(frame[list(schema.names[:2])], found, draws, **shown), caption=text, alt=text)
    sizes, covariances = ((2, 3), ("EEE",)) if quick else ((3, 4, 5, 6, 7), ("EEE", "VEE", "VVV"))
    grid = {"components": sizes, "covariances": covariances}
    selection = select_components(frame, untold, make=MIXTURE, **grid, seed=seed, method=Selection(folds=2))
    sexes = {"sex": frame.groupby([label, "sex"]).ngroup().fillna(-1).astype(int).to_numpy()} if "sex" in frame else {}
    truths = {label: labels} | {f"{label} and {name}": codes for name, codes in sexes.items()}
    rows = prepare(frame, untold)(frame)
    bic = choice_section(report, selection, rows, make=MIXTURE, truths=truths, seed=seed).loc["BIC"]
    mixture = Mixture(untold, components=int(bic["components"]), covariance=bic["covariance"])
    text = "The answers below are those of the mixture that BIC chooses, fitted anew: its components were told nothing."
    report.text("Missing measures, strange penguins", text)
    parts = prepare_split(frame, untold, seed=seed)
    hidden = hidden_cells_section(report, fit(mixture, parts.train, seed=seed).family, parts.frames.test, seed=seed)
    imputation_section(report, fit(mixture, rows, seed=seed).family, frame, seed=seed)
    least = anomaly_section(report, mixture, frame, seed=seed)
    words = ", ".join(verdict(scores, name) for name in families)
    rands = ", ".join(f"{bic[name]:.2f} with {name}" for name in truths)
    text = f"One row in ten tells its {label}; the others make the classifiers, by held-out log score, {words}. Told "
    text += f"nothing, the mixture of best BIC has {bic['components']} components ({bic['covariance']}): adjusted Rand "
    text += f"index {rands}. Measures that were hidden lie in their 90 % intervals in {hidden['covered'].mean():.0%}. "
    odd = f"The strangest is row {least.index[0]}, of tail probability {least['probability'].iloc[0]:.2g}."
    report.summary += text + odd
    print(report.summary)
    report.write(output_dir, seconds=perf_counter() - started)


if __name__ == "__main__":
    script(main)
