"""Floor 4: laws of the ELBO, for any Pyro model and guide, ours and others'."""

from ppl_models.verify.examination import BrokenLaw, Verdict, verify
from ppl_models.verify.findings import Comparison, Fact, Finding
from ppl_models.verify.laws import PAIR_LAWS, SCORING_LAWS, Law
from ppl_models.verify.pairs import Pair
from ppl_models.verify.scoring import Scoring

__all__ = [
    "PAIR_LAWS",
    "SCORING_LAWS",
    "BrokenLaw",
    "Comparison",
    "Fact",
    "Finding",
    "Law",
    "Pair",
    "Scoring",
    "Verdict",
    "verify",
]
