"""The Markov chain that knows what a held step holds."""

from dataclasses import replace

from melody_models import SMOOTHING, best
from melody_phrases import sounding_tokens

from ppl_models import fit, log_density, prepare
from ppl_models.datasets import Split, sequence_table
from ppl_models.datasets.notes import HOLD, VOCABULARY
from ppl_models.evaluation import Density
from ppl_models.families import MarkovChain
from ppl_models.inference import Fit


def sounding_chain(frames: Split, *, like: Density, seed: int) -> tuple[Fit, Density]:
    """The best Markov chain of steps that name the pitch they hold, and its density of the test phrases.

    Told the last step alone, a chain does not know what a held step holds. The phrases are the same, one to one, so
    that the density is of the same rows as one of theirs that it is ``like``. Smoothing gives a little probability to
    steps that cannot be, such as a pitch held that did not sound.
    """
    vocabulary = [*VOCABULARY, *(f"{token}, held" for token in VOCABULARY if token != HOLD)]
    parts = (frames.train, frames.validation, frames.test)
    tables = [sequence_table(sounding_tokens(part), vocabulary=vocabulary) for part in parts]
    preparation = prepare(tables[0].frame, tables[0].schema)
    train, validation, test = (preparation(table.frame) for table in tables)
    chains = [MarkovChain(train.schema, smoothing=each) for each in SMOOTHING]
    found = best([fit(one, train, seed=seed) for one in chains], validation, seed=seed)
    return found, replace(log_density(found.family, test), checksum=like.checksum)
