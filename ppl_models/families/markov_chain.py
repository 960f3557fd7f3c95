"""The Markov chain: each step of a sequence given the one before it, the same at every step.

    initial        ~ Dirichlet(smoothing, ..., smoothing)
    transition_c   ~ Dirichlet(smoothing, ..., smoothing)          for each token c before
    x_i1           ~ Categorical(initial)                          for each row i
    x_it | x_i,t−1 ~ Categorical(transition_{x_i,t−1})             for each step t after the first

| symbol | site | shape |
|---|---|---|
| initial | ``sequence.initial`` | (1, C) |
| transition | ``sequence.transition`` | (1, C, C) |
| x | ``sequence`` | (N, steps) |

It is the class-given product of ``mixture.py`` with one class and the one block of ``distributions/chain.py``. The
guide holds the exact posterior, reached in one step, so that the ELBO is the log evidence. log p(x) of a row is exact:
all its transitions at once with the parameters integrated out, Pólya's urns and not the product of mean transitions.

Missing steps: those at a row's end are no part of it. Holes before its last token are summed out exactly: by a forward
pass where the parameters are one value (``estimate`` "map" or "maximum-likelihood", whose training step is then EM's),
and by a look at all fillings where they are integrated out, which couples the holes. So a row of too many holes is
refused there, and so are training rows with any, since their posterior is no Dirichlet.

Limits: one step of memory, and no sense of where in the row a step stands. References: Murphy (2012), Machine
Learning: a Probabilistic Perspective, section 17.2; MacKay and Peto (1995), A hierarchical Dirichlet language model,
https://doi.org/10.1017/S1351324900000218.

Use it when rows are sequences and a step depends on the one before it, or an exact density is wanted that a richer
model of sequences has to beat; not when what counts lies further back than one step, or where in the row a step stands.

>>> import numpy as np
>>> import ppl_models as ppl
>>> from ppl_models.datasets import split_by_melody
>>> from ppl_models.families import MarkovChain
>>> from ppl_models.reports import image_grid
>>> table = ppl.load("melodies")
>>> parts = split_by_melody(table.frame, seed=0)
>>> prepare = ppl.prepare(parts.train, table.schema)
>>> family = MarkovChain(table.schema)
>>> found = ppl.fit(family, prepare(parts.train), seed=0)
>>> density = ppl.log_density(family, prepare(parts.test))
>>> print(f"log p(x): {density.elpd / 32:.2f} nats per held-out step, {density.kind} under the guide")
log p(x): -1.10 nats per held-out step, exact under the guide
>>> sides = {"held-out phrases": parts.test, "drawn": ppl.sample(family, 6, seed=0)}
>>> codes = {name: np.stack([side[step].cat.codes for step in side], 1)[:6] for name, side in sides.items()}
>>> tokens = np.eye(len(table.schema.vocabulary))
>>> rolls = {name: tokens[some].transpose(0, 2, 1)[:, ::-1] for name, some in codes.items()}
>>> figure = image_grid(rolls, columns=3)

Picture: phrases of two bars that were held out, and phrases drawn; time runs to the right, pitch upwards, and the two
lowest lines are rest and hold.
"""

from ppl_models.datasets import Dataset, Schema, chunks_of
from ppl_models.datasets.dataset import ROWS_AT_ONCE
from ppl_models.distributions import Estimate, Likelihoods, WeightsPrior
from ppl_models.errors import InputError
from ppl_models.families.class_product import ClassProduct


class MarkovChain(ClassProduct):
    """A first-order Markov chain over sequences of tokens.

    Args:
        schema: of a sequence; a label is not used.
        smoothing: what is added to each count of a first token and of a transition.
        estimate: "bayes", "map" or "maximum-likelihood".

    Raises:
        InputError: columns that are no sequence, or smoothing that is not above 0.

    >>> from ppl_models.datasets import sequence_table
    >>> MarkovChain(sequence_table([["C", "D"], ["C", "E"]]).schema).n_parameters
    8
    """

    def __init__(self, schema: Schema, *, smoothing: float = 1.0, estimate: Estimate = "bayes") -> None:
        schema.require_sequence(type(self).__name__)
        likelihoods = Likelihoods(smoothing=smoothing, estimate=estimate, steps="chain")
        super().__init__(schema, 1, labelled=False, likelihoods=likelihoods, weights=WeightsPrior())

    def require(self, batch: Dataset) -> None:
        """Refuse rows with too many holes where the parameters are integrated out, too."""
        super().require(batch)
        before = batch.rows_before
        for part in chunks_of(batch, ROWS_AT_ONCE) if self.bayesian and not batch.complete else ():
            for block in self.row:
                block.require_few_holes(*block.cells(part), before=before)
            before += len(part)

    def check(self, train: Dataset) -> None:
        """Refuse training rows with holes where the posterior is to be exact."""
        super().check(train)
        before = train.rows_before
        for part in chunks_of(train, ROWS_AT_ONCE) if self.bayesian and not train.complete else ():
            for hidden in self.row.hidden(part).values():
                hole = int((hidden.values[0] < 0).nonzero()[0, 0])
                raise InputError(
                    "MarkovChain: expected training rows whose missing steps all stand at their end, "
                    f"{self.schema.names[hole]!r} of row {before + int(hidden.rows[0]) + 1} is missing before its last "
                    "token; estimate='map' or 'maximum-likelihood' sums it out"
                )
            before += len(part)
