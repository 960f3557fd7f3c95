"""Files of images as arrays: idx files and packed bits, as they are or compressed.

An idx file is two zero bytes, a byte for the type of its elements, a byte for the number of dimensions, the length of
each dimension, and the elements row by row, all of it big-endian (LeCun, Cortes and Burges 1998, The MNIST database of
handwritten digits, http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import hashlib
import lzma
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8

from ppl_models.errors import InputError, at_least_one

ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST_RANK = 64  # of a numpy array
COMPRESSIONS = {"gzip": (b"\x1f\x8b", gzip.decompress), "xz": (b"\xfd7zXZ\x00", lzma.decompress)}


def read_idx(path: str | Path, *, sha256: str | None = None) -> Num[np.ndarray, "*shape"]:
    """Read an idx file, as MNIST and its kin come in.

    Args:
        path: the file, plain or compressed by gzip or xz, which its first bytes tell and not its name.
        sha256: what the file as it lies there, compressed or not, must hash to; None does not check.

    Returns:
        An array of the file's shape and type of elements, in the machine's byte order.

    Raises:
        InputError: there is no such file, it is another one than ``sha256`` says, cannot be unpacked, is no idx file,
            or has fewer or more bytes than its shape needs.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     file.flush()
    ...     print(read_idx(file.name))
    [7 8 9]
    """
    content = unpacked(path, wanted="an idx file", sha256=sha256)
    dtype, rank = _elements(content[:4], path)
    header = 4 + 4 * rank
    if len(content) < header:
        raise InputError(f"{path}: is cut short: expected {header} bytes for {rank} dimensions, got {len(content)}")
    shape = tuple(np.frombuffer(content, ">u4", rank, 4).tolist())
    needed = header + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        trouble = "is cut short" if len(content) < needed else f"has {len(content) - needed} bytes too many"
        raise InputError(
            f"{path}: {trouble}: expected {needed} bytes for shape {shape} of {dtype.name}, got {len(content)}"
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _elements(magic: bytes, path: str | Path) -> tuple[np.dtype, int]:
    """The type of the elements and the number of dimensions, as the first four bytes say."""
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENTS or not 1 <= magic[3] <= LARGEST_RANK:
        raise InputError(
            f"{path}: expected an idx file, which begins with two zero bytes, a type "
            f"({', '.join(f'{code:02x}' for code in ELEMENTS)}) and a number of dimensions, got {magic.hex(' ')!r}"
        )
    return np.dtype(ELEMENTS[magic[2]]), magic[3]


def read_packed_bits(
    path: str | Path, *, image_shape: tuple[int, int], sha256: str | None = None
) -> UInt8[np.ndarray, "images pixels"]:
    """Read binary images packed eight pixels to a byte, the first pixel in the highest bit, with no gap between images.

    Args:
        path: the file, plain or compressed by gzip or xz, which its first bytes tell and not its name.
        image_shape: (height, width) of an image.
        sha256: what the file as it lies there, compressed or not, must hash to; None does not check.

    Returns:
        0 and 1, an image a row, its pixels row by row.

    Raises:
        InputError: there is no such file, it is another one than ``sha256`` says, cannot be unpacked, or its bits make
            no whole number of images.
    """
    height, width = image_shape
    at_least_one("image_shape: ", height=height, width=width)
    content = unpacked(path, wanted="a file of packed bits", sha256=sha256)
    if not content or len(content) * 8 % (height * width):
        raise InputError(
            f"{path}: expected a whole number of images of {height} x {width} = {height * width} bits, "
            f"got {len(content)} bytes, {len(content) * 8 / (height * width):.2f} images"
        )
    return np.unpackbits(np.frombuffer(content, np.uint8)).reshape(-1, height * width)


def unpacked(path: str | Path, *, wanted: str, sha256: str | None = None) -> bytes:
    """A file's content, decompressed if it begins as gzip or xz does.

    Args:
        path: the file.
        wanted: what it should be, for messages.
        sha256: what the file as it lies there must hash to; None does not check.

    Raises:
        InputError: there is no such file, it is another one than ``sha256`` says, or cannot be read or unpacked.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: expected {wanted}, found {'a folder' if path.is_dir() else 'none'} at {path.absolute()}; "
            "nothing is downloaded: give the path of your own copy"
        )
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"{path}: could not be read: {problem.strerror}") from problem
    found = hashlib.sha256(content).hexdigest() if sha256 else None
    if sha256 and found != sha256.lower():
        raise InputError(f"{path}: expected sha256 {sha256}, got {found}: it is another file, or a damaged one")
    return _decompressed(content, path)


def _decompressed(content: bytes, path: Path) -> bytes:
    """The content of a compressed file; any other as it is."""
    for name, (magic, decompress) in COMPRESSIONS.items():
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as problem:
                raise InputError(f"{path}: begins as {name} does, but could not be unpacked: {problem}") from problem
    return content
