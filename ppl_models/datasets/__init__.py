"""Floor 0: a table becomes tensors."""

from ppl_models.datasets.bundled import Table, load
from ppl_models.datasets.dataset import Dataset, chunks_of, some_of
from ppl_models.datasets.idx import read_idx, read_packed_bits
from ppl_models.datasets.images import image_table
from ppl_models.datasets.kinds import infer_schema
from ppl_models.datasets.preparation import Preparation, Prepared, prepare, prepare_split
from ppl_models.datasets.schema import Column, Schema
from ppl_models.datasets.shares import prepared_share, share_of
from ppl_models.datasets.sources import Query
from ppl_models.datasets.splits import Split, split
from ppl_models.datasets.streams import Stream, stream
from ppl_models.datasets.table import conform, read
from ppl_models.datasets.words import read_word_vectors

__all__ = [
    "Column",
    "Dataset",
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
    "prepare",
    "prepare_split",
    "prepared_share",
    "read",
    "read_idx",
    "read_packed_bits",
    "read_word_vectors",
    "share_of",
    "some_of",
    "split",
    "stream",
]
