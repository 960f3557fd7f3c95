"""Naive Bayes: columns independent given a class that is seen in training, or one class for all rows.

    class probabilities ~ Dirichlet(1, ..., 1)
    θ_k                 ~ conjugate prior of each column
    y_i                 ~ Categorical(class probabilities)         observed where the label is known
    x_id | y_i          ~ p(x | θ_{y_i, d})                        normal, log-normal, Poisson, Bernoulli or categorical

Labelled, it is a classifier and a density at once: p(x) sums the class out, and a row whose label is missing in
training is summed over as well. Unlabelled, it is the lecture's generator: every column by itself, one class. The
sites, shapes and references are those of ``mixture.py``. With all labels known the guide holds the exact posterior,
so the ELBO is the log evidence. Limit: columns that vary together within a class are counted as independent.

Use it when rows have a class, columns are of mixed kinds, labels or cells may be missing, and a first answer is wanted
whose log evidence is known; not when columns that vary together within a class decide: what they say is counted twice,
and class probabilities come out too sure.

>>> import ppl_models as ppl
>>> from ppl_models.datasets import prepare_split
>>> from ppl_models.inference import class_probabilities
>>> from ppl_models.reports import sample_pairs
>>> table = ppl.load("wine")
>>> parts = prepare_split(table.frame, table.schema, seed=0, stratify="label")
>>> found = ppl.fit(ppl.NaiveBayes(table.schema), parts.train, seed=0)
>>> density = ppl.log_density(found.family, parts.test)
>>> print(f"log p(x): {density.elpd:.2f} nats per held-out wine, {density.kind}")
log p(x): -18.35 nats per held-out wine, exact
>>> told = class_probabilities(found.family, parts.test).to_numpy().argmax(1)
>>> print(f"classes told rightly: {(told == parts.test.labels.numpy()).mean():.0%} of held-out wines")
classes told rightly: 100% of held-out wines
>>> drawn = ppl.sample(found.family, 150, seed=0)
>>> figure = sample_pairs(parts.frames.test, drawn, columns=["alcohol", "flavanoids", "proline"])

Picture: three columns of held-out wines, and wines drawn from the model, which knows no correlation within a class.
"""

from ppl_models.datasets import Dataset, Schema
from ppl_models.distributions import CountModel, Estimate, Likelihoods, WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families.class_product import ClassProduct


class NaiveBayes(ClassProduct):
    """Naive Bayes over mixed columns.

    Args:
        schema: what the columns are.
        labelled: whether the schema's label is the class; by default it is if there is one. False makes one class
            of all rows.
        covariance: of the continuous columns, by one of mclust's names; all but diagonal ones let them vary together
            ("EEE" is linear discriminant analysis, "VVV" quadratic).
        counts: the likelihood of count columns: "poisson", "negative-binomial" or, all in one block, "multinomial".
        smoothing: what is added to each category's count.
        estimate: "bayes", "map" or "maximum-likelihood"; the first where there is a conjugate prior, else the second.

    >>> from ppl_models.datasets import Column, Schema
    >>> NaiveBayes(Schema((Column("dollars", "real"),))).classes
    1
    """

    def __init__(
        self,
        schema: Schema,
        *,
        labelled: bool | None = None,
        covariance: str = "diagonal",
        counts: CountModel = "poisson",
        smoothing: float = 1.0,
        estimate: Estimate | None = None,
    ) -> None:
        labelled = schema.label is not None if labelled is None else labelled
        if labelled and schema.label is None:
            raise InputError("NaiveBayes: labelled=True needs a schema with a label, got one without")
        likelihoods = Likelihoods(covariance, counts, smoothing, estimate)
        classes = schema.classes if labelled else 1
        super().__init__(schema, classes, labelled=labelled, likelihoods=likelihoods, weights=WeightsPrior())

    def check(self, train: Dataset) -> None:
        """Refuse what any mixture refuses; a labelled model needs rows of known class besides."""
        super().check(train)
        if self.labelled and not train.known_labels:
            raise InputError(
                f"NaiveBayes: label {self.schema.label.name!r}: expected some known classes, all "
                f"{train.all_rows} training rows miss it; labelled=False fits without"
            )
