"""Word vectors as a table: a row a word, a column a dimension."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppl_models.datasets.idx import unpacked
from ppl_models.errors import InputError

ARRAYS = ("words", "vectors")
ZIP = b"PK\x03\x04"


def read_word_vectors(path: str | Path) -> pd.DataFrame:
    r"""Read word vectors from an npz file, or from the text that GloVe and word2vec write.

    An npz file holds the arrays ``words`` and ``vectors``. A text file, plain or compressed by gzip or xz, has a word
    and its numbers a line, apart by blanks; a first line of two whole numbers says how many words and dimensions
    follow (Mikolov et al. 2013, https://arxiv.org/abs/1301.3781; Pennington, Socher and Manning 2014, GloVe,
    https://aclanthology.org/D14-1162). The binary form of word2vec is not read.

    Args:
        path: the file; its first bytes tell which of the two it is.

    Returns:
        Words as the index, columns ``dimension_0``, ``dimension_1``, ...; float64 from text, as stored from npz.

    Raises:
        InputError: there is no such file, it cannot be unpacked, lacks an array, or has a line with other than the
            first line's number of cells, a word twice, or a cell that is no finite number; the line is named.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile() as file:
    ...     _ = file.write(b"king 0.5 1\nqueen 0.5 -1\n")
    ...     file.flush()
    ...     print(read_word_vectors(file.name).loc["queen"].tolist())
    [0.5, -1.0]
    """
    content = unpacked(path, wanted="word vectors")
    if content.startswith(ZIP):
        words, vectors = _arrays(content, path)
        return _table(words, vectors, f"{path}: row", first=1)
    lines = content.rstrip().split(b"\n")
    if lines == [b""]:
        raise InputError(f"{path}: expected a word and its numbers a line, got an empty file")
    header = _header(lines, path)
    words, vectors = _cells(lines[header:], f"{path}: line", first=1 + header)
    return _table(words, vectors, f"{path}: line", first=1 + header)


def _arrays(content: bytes, path: str | Path) -> tuple[list[str], Float[np.ndarray, "words dimensions"]]:
    """The words and vectors of an npz file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            absent = [name for name in ARRAYS if name not in arrays.files]
            if absent:
                raise InputError(f"{path}: no array {absent[0]!r}; the arrays are {', '.join(arrays.files)}")
            words, vectors = arrays["words"], arrays["vectors"]
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise InputError(f"{path}: could not be read as npz: {' '.join(str(problem).split())}") from problem
    if words.dtype.kind != "U" or vectors.dtype.kind != "f" or vectors.ndim != 2 or words.shape != vectors.shape[:1]:
        raise InputError(
            f"{path}: expected words (N,) as text and vectors (N, D) as floats, "
            f"got {words.shape} of {words.dtype} and {vectors.shape} of {vectors.dtype}"
        )
    return words.tolist(), vectors


def _header(lines: list[bytes], path: str | Path) -> int:
    """1 if the first line says how many words and dimensions follow, checked, else 0."""
    first, second = lines[0].split(), lines[1].split() if len(lines) > 1 else []
    if len(first) != 2 or not all(cell.isdigit() for cell in first) or not second:
        return 0
    words, dimensions = map(int, first)
    found = (len(lines) - 1, len(second) - 1)
    if found[1] == 1 and found != (words, dimensions):
        return 0  # a first word that is a number, with one dimension
    if found != (words, dimensions):
        raise InputError(
            f"{path}: line 1: expected {words} words of {dimensions} dimensions as it says, "
            f"got {found[0]} lines, the first of {found[1]} numbers"
        )
    return 1


def _cells(lines: list[bytes], where: str, *, first: int) -> tuple[list[str], Float[np.ndarray, "words dimensions"]]:
    """The words and numbers of the lines, which all have as many cells as the first; bytes split at ASCII blanks."""
    words, vectors = [], np.empty((len(lines), max(len(lines[0].split()) - 1, 1)))
    for row, line in enumerate(lines):
        cells = line.split()
        if len(cells) != vectors.shape[1] + 1:
            raise InputError(
                f"{where} {row + first}: expected a word and {vectors.shape[1]} numbers, got {len(cells)} cells"
            )
        try:
            words.append(cells[0].decode())
            vectors[row] = [float(cell) for cell in cells[1:]]
        except UnicodeDecodeError:
            raise InputError(f"{where} {row + first}: expected a word in UTF-8, got {cells[0]!r}") from None
        except ValueError as problem:
            raise InputError(f"{where} {row + first}: expected numbers after the word, {problem}") from None
    return words, vectors


def _table(words: list[str], vectors: Float[np.ndarray, "words dimensions"], where: str, *, first: int) -> pd.DataFrame:
    """The table, every word once and every number finite; ``first`` is the place of the first row."""
    index = pd.Index(words, name="word", dtype=object)
    for row in np.flatnonzero(index.duplicated()):
        earlier = words.index(words[row])
        raise InputError(f"{where} {row + first}: {words[row]!r} was there before, at {earlier + first}")
    for row, column in np.argwhere(~np.isfinite(vectors)):
        raise InputError(f"{where} {row + first}: expected finite numbers, got {vectors[row, column]}")
    return pd.DataFrame(vectors, index, [f"dimension_{position}" for position in range(vectors.shape[1])])
