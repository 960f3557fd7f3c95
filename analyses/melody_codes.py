"""What a code keeps of a phrase."""

import numpy as np
import pandas as pd
from melody_measures import ERRORS, jackknife
from melody_paths import PITCHES, decoded_tokens
from melody_phrases import Phrases

from ppl_models import Report
from ppl_models.families import SequenceVAE


def kept(family: SequenceVAE, phrases: Phrases) -> pd.DataFrame:
    """Shares of steps, and of the steps where a note begins, that come back: of the own code, another's, and the mean.

    Another's is the code of the row half a table further on.
    """
    codes, tokens, titles = phrases.codes, phrases.tokens, phrases.titles
    others = np.roll(codes, len(codes) // 2, axis=0)
    told = {"its own": codes, "another phrase's": others, "the prior's mean": np.zeros_like(codes)}
    begins, lines = tokens >= PITCHES, {}
    sung = begins.any(1)
    for name, some in told.items():
        right = decoded_tokens(family, some) == tokens
        notes = (right & begins)[sung].sum(1) / begins[sung].sum(1)
        lines[name] = [*jackknife(right.mean(1), titles[:, None]), *jackknife(notes, titles[sung, None])]
    return pd.DataFrame(lines, ["steps", "steps se", "notes", "notes se"]).T.rename_axis("code")


def kept_section(report: Report, family: SequenceVAE, phrases: Phrases) -> None:
    """Add how much of held-out phrases comes back from their codes."""
    table = kept(family, phrases)
    text = (
        "Share of a held-out phrase's steps whose token comes back when a code is decoded, and of those where a note "
        "begins: its own code, another held-out phrase's, and the prior's mean, which is told nothing of it. "
    )
    report.table("reconstruction", table, caption=text + ERRORS)
    own = table.iloc[0]
    report.summary += (
        f" Decoded from its code a phrase has {own['steps']:.1%} of its steps back (se {own['steps se']:.1%})."
    )
