"""Is king less man plus woman queen? Asked of word vectors, of a VAE's codes of them, and of what it rebuilds."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from sklearn.decomposition import PCA

import ppl_models as ppl
from ppl_models import datasets, distributions, evaluation, inference, nn
from ppl_models.scripts import OutputDir, Quick, Seed, script

PAIRS = pd.read_csv(Path(__file__).parents[1] / "data/analogies.csv")
FILE = Path(__file__).parents[2] / "shared/data/word_vectors/word2vec_300d_1000words.npz"
PLACE = Path("results/words")
Data = Annotated[Path | None, typer.Option(help="Word vectors, npz or text; otherwise those of ../shared.")]


def asked(words: pd.Index) -> pd.DataFrame:
    """Every two pairs of a family, in both orders; families are left out of which fewer than three pairs are there."""
    pairs = PAIRS[PAIRS[["a", "b"]].isin(words).all(axis=1)].groupby("family").filter(lambda part: len(part) > 2)
    return pairs.merge(pairs.rename(columns={"a": "c", "b": "d"}), on="family").query("a != c")


def planted(seed: int) -> pd.DataFrame:
    """Simulated words of sixteen hidden numbers; the second of a pair is the first, moved along its family's step."""
    random, families = np.random.default_rng(seed), PAIRS["family"].unique()
    steps = pd.DataFrame(3 * random.normal(size=(len(families), 50)), families)
    hidden = random.normal(size=(len(PAIRS) + 600, 16)) @ random.normal(size=(16, 50))
    others = hidden[:600] + random.binomial(1, 0.3, (600, len(families))) @ steps.to_numpy()
    vectors = np.concatenate([hidden[600:], hidden[600:] + steps.loc[PAIRS["family"]].to_numpy(), others])
    words = [*PAIRS["a"], *PAIRS["b"], *map(str, range(600))]
    return pd.DataFrame(vectors + random.normal(size=vectors.shape), words).add_prefix("dimension_")


def jackknife(values: pd.DataFrame, questions: pd.DataFrame) -> pd.Series:
    """Standard errors of means over questions, which share pairs: each pair left out in turn, family by family."""
    pairs = (values.groupby(questions["a"]).mean() + values.groupby(questions["c"]).mean()) / 2
    families = pairs.groupby(questions.drop_duplicates("a").set_index("a")["family"])
    size = families.size()
    weights = 2 * size**0.5 * (size - 1) ** 2 / (size - 2) / len(questions)
    return families.var().mul(weights**2, axis=0).sum() ** 0.5


def main(*, data: Data = None, seed: Seed = 0, output_dir: OutputDir = PLACE, quick: Quick = False) -> None:
    """Ask vectors for analogies, and ask again what a VAE keeps of them that never saw the words asked about."""
    missing = f"No {FILE}: simulated words with planted analogies. " if data is None and not FILE.is_file() else ""
    vectors = planted(seed) if missing else datasets.read_word_vectors(data or FILE).astype(float)
    questions = asked(vectors.index)
    used, size = vectors.index.isin(questions[["a", "b"]].to_numpy().ravel()), min(20, vectors.shape[1])
    parts = ppl.split(vectors[~used], seed=seed, test=0.0)
    schema = datasets.infer_schema(vectors, kinds=dict.fromkeys(vectors.columns, "real"))
    train, validation, rows = map(ppl.prepare(parts.train, schema), (parts.train, parts.validation, vectors))
    alike = distributions.DecoderLikelihoods(scale="column")  # too few words for a scale of each one's own
    family = ppl.VAE(schema, latent=size, network=nn.Dense((128,)), likelihoods=alike)
    ppl.fit(family, train, validation, seed=seed, method=inference.Gradient(steps=200 if quick else 2000))
    spaces = {"vectors": vectors, "components": PCA(size, random_state=seed).fit(parts.train).transform(vectors)}
    spaces |= {"VAE": inference.encode(family, rows), "VAE, rebuilt": inference.reconstruct(family, rows)}
    spaces = {name: pd.DataFrame(np.asarray(space), vectors.index) for name, space in spaces.items()}
    answers = pd.concat({name: evaluation.analogies(space, questions) for name, space in spaces.items()})
    ranks = answers["rank"].unstack(0)[[*spaces]]
    right, scores = (ranks == 1).astype(float), pd.DataFrame(index=ranks.columns.rename("space"))
    values = {"accuracy": right, "behind": right.rsub(right["vectors"], axis=0), "reciprocal_rank": 1 / ranks}
    for name, part in values.items():
        scores[name], scores[f"{name}_se"] = part.mean(), jackknife(part, questions)
    told = ", ".join(f"{name} {one['accuracy']:.1%} (se {one['accuracy_se']:.1%})" for name, one in scores.iterrows())
    text = f"{missing}{len(questions)} analogies, share of right answers: {told}."
    report = ppl.Report("Words: king − man + woman", summary=text, seed=seed)
    text = f"{size} numbers a word, learned from other words. Standard errors (se) leave out a pair of words at a time."
    report.table("analogies", scores, caption=text)
    report.table("families", right.groupby(questions["family"], sort=False).mean(), caption="Share of right answers.")
    nearest = answers.xs(questions.index[0], level=1).rename_axis("space")
    report.table("first", nearest, caption="a is to b as c is to d: the nearest word, and the right one's rank.")
    report.write(output_dir)


if __name__ == "__main__":
    script(main)
