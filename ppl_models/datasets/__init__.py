"""Floor 0: a table becomes tensors."""

from ppl_models.datasets.bundled import Table, load
from ppl_models.datasets.chorales import read_chorales
from ppl_models.datasets.dataset import Dataset, chunks_of, some_of
from ppl_models.datasets.idx import read_idx, read_packed_bits
from ppl_models.datasets.images import image_table
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.melodies import melody_phrases, melody_tokens, phrase_frame, phrase_tokens, split_by_melody
from ppl_models.datasets.midi import midi_bytes, read_midi, write_midi
from ppl_models.datasets.notes import Note, notes_of, pitch_name, tokens_of
from ppl_models.datasets.preparation import Preparation, Prepared, prepare, prepare_split
from ppl_models.datasets.schema import Column, Schema
from ppl_models.datasets.sequences import sequence_schema, sequence_table
from ppl_models.datasets.shares import prepared_share, share_of
from ppl_models.datasets.sources import Query
from ppl_models.datasets.splits import Split, split
from ppl_models.datasets.streams import Stream, stream
from ppl_models.datasets.table import conform, read
from ppl_models.datasets.words import read_word_vectors

__all__ = [
    "Column",
    "Dataset",
    "Note",
    "Preparation",
    "Prepared",
    "Query",
    "Schema",
    "Split",
    "Stream",
    "Table",
    "chunks_of",
    "conform",
    "image_table",
    "infer_schema",
    "load",
    "melody_phrases",
    "melody_tokens",
    "midi_bytes",
    "notes_of",
    "phrase_frame",
    "phrase_tokens",
    "pitch_name",
    "prepare",
    "prepare_split",
    "prepared_share",
    "read",
    "read_chorales",
    "read_idx",
    "read_midi",
    "read_packed_bits",
    "read_word_vectors",
    "sequence_schema",
    "sequence_table",
    "share_of",
    "some_of",
    "split",
    "split_by_melody",
    "stream",
    "tokens_of",
    "write_midi",
]
