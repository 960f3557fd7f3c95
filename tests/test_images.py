"""Images and word vectors are read cell for cell, and what is damaged or of another kind is refused by name."""

import gzip
import hashlib
import lzma
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ppl_models.datasets import (
    Column,
    Schema,
    conform,
    image_table,
    load,
    prepare,
    read_idx,
    read_packed_bits,
    read_word_vectors,
)
from ppl_models.distributions import DecoderLikelihoods
from ppl_models.errors import InputError
from ppl_models.families import VAE, NaiveBayes

SHARED = Path(__file__).parents[2] / "shared" / "data"
PACKINGS = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}
ELEMENTS = {
    "uint8": (0x08, "B", [0, 7, 255, 1, 2, 3]),
    "int8": (0x09, "b", [0, -128, 127, 1, 2, 3]),
    "int16": (0x0B, "h", [0, -32768, 32767, 258, 2, 3]),
    "int32": (0x0C, "i", [0, -(2**31), 2**31 - 1, 16909060, 2, 3]),
    "float32": (0x0D, "f", [0.0, -1.5, 2.0**-20, 3.0, 1e10, 0.25]),
    "float64": (0x0E, "d", [0.0, -1.1, 1e-300, 3.0, 1e300, 0.1]),
}
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
BITS = PIXELS % 2


def idx(values: list, shape: tuple[int, ...], code: int = 0x08, letter: str = "B") -> bytes:
    """An idx file, written by hand."""
    header = bytes([0, 0, code, len(shape)]) + b"".join(struct.pack(">I", length) for length in shape)
    return header + struct.pack(f">{len(values)}{letter}", *values)


def refuse(call, message: str) -> None:
    """The call raises an InputError of one line with this message."""
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def shared(*path: str) -> Path:
    """A file of the shared data, or the test is skipped."""
    found = SHARED.joinpath(*path)
    if not found.is_file():
        pytest.skip(f"needs {found}")
    return found


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize(("dtype", "element"), ELEMENTS.items(), ids=ELEMENTS)
def test_an_idx_file_gives_its_elements_in_its_shape_and_type(dtype, element, shape, tmp_path):
    code, letter, values = element
    (tmp_path / "rows").write_bytes(idx(values, shape, code, letter))
    found = read_idx(tmp_path / "rows")
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative and found.flags.writeable
    np.testing.assert_array_equal(found, np.array(values, dtype=dtype).reshape(shape))


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_compression_is_told_by_the_first_bytes_and_not_by_the_name(pack, tmp_path):
    path = tmp_path / "misnamed.bz2"
    path.write_bytes(pack(idx(PIXELS.ravel().tolist(), PIXELS.shape)))
    np.testing.assert_array_equal(read_idx(path), PIXELS)
    path.write_bytes(pack(np.packbits(BITS).tobytes()))
    np.testing.assert_array_equal(read_packed_bits(path, image_shape=(3, 4)), BITS.reshape(2, 12))


def test_an_idx_file_of_no_images_keeps_their_shape(tmp_path):
    (tmp_path / "none").write_bytes(idx([], (0, 28, 28)))
    assert read_idx(tmp_path / "none").shape == (0, 28, 28)


def test_a_file_passes_under_its_own_sha256_alone(tmp_path):
    path, content = tmp_path / "rows.gz", gzip.compress(idx([1, 2], (2,)))
    path.write_bytes(content)
    own = hashlib.sha256(content).hexdigest()
    assert read_idx(path, sha256=own.upper()).tolist() == [1, 2]
    refuse(
        lambda: read_idx(path, sha256=own[::-1]), rf"rows\.gz: expected sha256 {own[::-1]}, got {own}: it is another"
    )


GOOD = idx(list(range(6)), (2, 3))
FILES = {
    "text": (b"x,y\n1,2\n", r"expected an idx file, .*\(08, 09, 0b, 0c, 0d, 0e\).*, got '78 2c 79 0a'"),
    "no bytes": (b"", r"expected an idx file, which begins with two zero bytes, .* got ''"),
    "unknown type": (b"\0\0\x0a" + GOOD[3:], r"expected an idx file, .* got '00 00 0a 02'"),
    "no dimensions": (b"\0\0\x08\0\x01", r"expected an idx file, .* got '00 00 08 00'"),
    "header cut": (GOOD[:9], r"is cut short: expected 12 bytes for 2 dimensions, got 9"),
    "cut": (GOOD[:-1], r"is cut short: expected 18 bytes for shape \(2, 3\) of uint8, got 17"),
    "cut and packed": (gzip.compress(GOOD[:-2]), r"is cut short: expected 18 bytes .* got 16"),
    "longer": (GOOD + b"ab", r"has 2 bytes too many: expected 18 bytes for shape \(2, 3\) of uint8, got 20"),
    "huge": (idx([], (2**32 - 1,) * 3), rf"is cut short: expected {16 + (2**32 - 1) ** 3} bytes for"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "begins as gzip does, but could not be unpacked: .*ended before"),
    "gzip checksum": (gzip.compress(GOOD)[:-8] + bytes(8), "begins as gzip does, .* CRC check failed"),
    "gzip header": (b"\x1f\x8bnothing of the kind", "begins as gzip does, .* Unknown compression method"),
    "gzip body": (gzip.compress(GOOD)[:10] + b"\xff" * 20, "begins as gzip does, .*invalid block type"),
    "xz cut": (lzma.compress(GOOD)[:-9], "begins as xz does, but could not be unpacked: .*ended before"),
    "xz body": (lzma.compress(GOOD)[:20] + bytes(40), "begins as xz does, but could not be unpacked: "),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_idx_files_that_are_damaged_or_none_are_refused_by_name(content, message, tmp_path):
    (tmp_path / "rows").write_bytes(content)
    refuse(lambda: read_idx(tmp_path / "rows"), rf"{tmp_path}/rows: {message}")


@pytest.mark.parametrize("read", [read_idx, lambda path: read_packed_bits(path, image_shape=(2, 2)), read_word_vectors])
def test_an_absent_file_is_named_in_full_and_nothing_is_downloaded(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse(lambda: read("none"), rf"none: expected .*, found none at {tmp_path}/none; nothing is downloaded: give the")
    refuse(lambda: read(tmp_path), r"expected .*, found a folder")


@pytest.mark.parametrize(
    ("count", "shape", "message"),
    [
        (3, (3, 3), r"a whole number of images of 3 x 3 = 9 bits, got 3 bytes, 2\.67 images"),
        (0, (3, 3), r"a whole number of images of 3 x 3 = 9 bits, got 0 bytes"),
        (3, (0, 3), "image_shape: height: expected one or more, got 0"),
    ],
)
def test_bits_that_make_no_whole_number_of_images_are_refused(count, shape, message, tmp_path):
    (tmp_path / "bits").write_bytes(bytes(count))
    refuse(lambda: read_packed_bits(tmp_path / "bits", image_shape=shape), message)


def test_mnist_has_its_known_mean_shape_and_class_counts():
    images = read_idx(
        shared("mnist", "train-images-idx3-ubyte.xz"),
        sha256="8f41e9b4abc124dc3d209e86f7ea714a81f80edea40b565a4781dec7bd67c6e2",
    )
    labels = read_idx(shared("mnist", "train-labels-idx1-ubyte.xz"))
    assert images.shape == (60_000, 28, 28) and round(images.mean() / 255, 4) == 0.1307
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize(
    ("part", "images", "ones"),
    [("train", 50_000, 5_118_041), ("valid", 10_000, 1_028_036), ("test", 10_000, 1_038_896)],
)
def test_static_mnist_has_its_known_number_of_ones(part, images, ones):
    path = shared("mnist_static", f"binarized_mnist_{part}.packbits.xz")
    bits = read_packed_bits(path, image_shape=(28, 28))
    assert bits.shape == (images, 784) and int(bits.sum()) == ones


def test_an_image_table_has_a_column_a_pixel_row_by_row():
    table = image_table(PIXELS, pixels="levels", name="small", source="a test")
    assert table.frame.columns[:5].tolist() == ["pixel_0_0", "pixel_0_1", "pixel_0_2", "pixel_0_3", "pixel_1_0"]
    np.testing.assert_array_equal(table.frame.to_numpy(), PIXELS.reshape(2, 12))
    assert table.schema.image_shape == (3, 4) and table.schema.names == tuple(table.frame.columns)
    assert (table.name, table.source) == ("small", "a test")


@pytest.mark.parametrize(
    ("pixels", "images", "kind", "categories"),
    [
        ("binary", BITS, "binary", ()),
        ("binary", BITS.astype(bool), "binary", ()),
        ("levels", PIXELS, "categorical", tuple(range(256))),
        ("real", PIXELS / 23, "real", ()),
    ],
)
def test_pixels_are_of_the_kind_asked_for(pixels, images, kind, categories):
    columns = image_table(images, pixels=pixels).schema.columns
    assert {(column.kind, column.categories) for column in columns} == {(kind, categories)}


def test_rows_of_pixels_and_stacked_images_make_one_table():
    stacked, rows = (
        image_table(BITS, pixels="binary"),
        image_table(BITS.reshape(2, 12), pixels="binary", image_shape=(3, 4)),
    )
    pd.testing.assert_frame_equal(stacked.frame, rows.frame)
    assert stacked.schema == rows.schema


def test_the_bundled_digits_are_what_their_images_give():
    digits = load("digits")
    images = digits.frame[list(digits.schema.names)].to_numpy(dtype=float).reshape(-1, 8, 8)
    table = image_table(images, pixels="levels", levels=[float(level) for level in range(17)])
    assert table.schema.columns == digits.schema.columns
    found, bundled = (prepare(each.frame, each.schema)(each.frame) for each in (table, digits))
    assert torch.equal(found.values, bundled.values) and found.checksum == bundled.checksum


def test_labels_are_taken_in_the_order_of_the_images():
    labels = pd.Series(["shoe", "coat"], index=[1, 0])
    table = image_table(PIXELS, pixels="levels", labels=labels)
    assert table.schema.label == Column("label", "categorical", ("coat", "shoe"))
    assert prepare(table.frame, table.schema)(table.frame).labels.tolist() == [1, 0]


def test_classes_without_an_image_come_with_a_categorical():
    table = image_table(PIXELS, pixels="levels", labels=pd.Categorical([3, 3], categories=range(10)))
    assert table.schema.label.categories == tuple(range(10))


def test_a_table_does_not_change_with_the_array_it_came_from():
    images = BITS.copy()
    table = image_table(images, pixels="binary")
    images[:] = 1
    np.testing.assert_array_equal(table.frame.to_numpy(), BITS.reshape(2, 12))


GREY, ROWS = PIXELS / 23, PIXELS.reshape(2, 12)
BITS_REFUSED = {
    "grey levels": (
        PIXELS,
        "images: column 'pixel_0_2', row 1: expected 0 or 1, got 2; grey levels take pixels='levels'",
    ),
    "grey values": (
        GREY,
        r"'pixel_0_1', row 1: expected 0 or 1, got 0\.04.*pixels='real' with the continuous Bernoulli",
    ),
    "infinite": (np.full((1, 2, 2), np.inf), "'pixel_0_0', row 1: expected a finite number, got inf$"),
}
REALS_REFUSED = {
    "grey levels": (PIXELS, "expected a number from 0 to 1, got 2; grey levels take pixels='levels', or are divided"),
    "negative": (-GREY, "'pixel_0_1', row 1: expected a number from 0 to 1, got -0.0"),
    "missing": (np.where(GREY == 1, np.nan, GREY), "'pixel_2_3', row 2: expected a finite number, got nan$"),
    "colours": (np.zeros((2, 3, 4, 3)), r"\(images, height, width\), .* got shape \(2, 3, 4, 3\)"),
    "no images": (PIXELS[:0], r"one or more images .* got shape \(0, 3, 4\)"),
    "text": (PIXELS.astype(str), "images: expected an array of numbers, got <U"),
}
OPTIONS_REFUSED = {
    "values between": (GREY, {}, r"one of 256 levels from 0 to 255, got 0\.04.*; give .* levels=, or .* pixels='real'"),
    "other levels": (
        PIXELS,
        {"levels": range(23)},
        "'pixel_2_3', row 2: expected one of 23 levels from 0 to 22, got 23",
    ),
    "endless level": (PIXELS, {"levels": [0, np.inf]}, r"levels: expected a list of finite numbers, got \[0, inf\]"),
    "one level": (0 * PIXELS, {"levels": [0]}, r"needs two or more categories, got \[0\]"),
    "no height": (ROWS, {}, r"got shape \(2, 12\) with image_shape None"),
    "other size": (ROWS, {"image_shape": (3, 3)}, r"got shape \(2, 12\) with image_shape \(3, 3\)"),
    "turned": (PIXELS, {"image_shape": (4, 3)}, r"expected images of image_shape \(4, 3\), got shape \(2, 3, 4\)"),
    "three labels": (PIXELS, {"labels": [1, 2, 3]}, r"expected 2 labels, one an image, got shape \(3,\)"),
    "one class": (PIXELS, {"labels": [1, 1]}, "label 'label': expected two or more classes, got only 1"),
}


@pytest.mark.parametrize(("images", "message"), BITS_REFUSED.values(), ids=BITS_REFUSED)
def test_pixels_that_are_no_bits_are_refused_by_column_and_row(images, message):
    refuse(lambda: image_table(images, pixels="binary"), message)


@pytest.mark.parametrize(("images", "message"), REALS_REFUSED.values(), ids=REALS_REFUSED)
def test_pixels_that_are_no_numbers_from_0_to_1_are_refused(images, message):
    refuse(lambda: image_table(images, pixels="real"), message)


@pytest.mark.parametrize(("images", "options", "message"), OPTIONS_REFUSED.values(), ids=OPTIONS_REFUSED)
def test_levels_shapes_and_labels_that_do_not_fit_the_images_are_refused(images, options, message):
    refuse(lambda: image_table(images, pixels="levels", **options), message)


def test_levels_are_refused_beside_pixels_that_have_none():
    refuse(lambda: image_table(BITS, pixels="binary", levels=[0, 1]), "levels: .* alone, got pixels='binary'")


def test_grey_cells_in_a_binary_column_are_told_what_to_be():
    schema = Schema((Column("x", "binary"),))
    hint = "row 2: expected 0 or 1, got 0.5; .* real columns with the continuous Bernoulli, or .* discretised logistic$"
    refuse(lambda: conform(pd.DataFrame({"x": [0, 0.5]}), schema), hint)
    refuse(lambda: conform(pd.DataFrame({"x": [0, 2]}), schema), "row 2: expected 0 or 1, got 2$")


def test_a_constant_pixel_is_left_to_the_likelihood_that_can_bear_it():
    table = image_table(np.stack([np.zeros(9), np.linspace(0, 1, 9)], -1)[:, None], pixels="real")
    rows = prepare(table.frame, table.schema)(table.frame)
    assert rows.values[:, 0].tolist() == [0.0] * 9
    refuse(lambda: NaiveBayes(table.schema).check(rows), "'pixel_0_0' is constant; crop the images, describe them by")
    VAE(table.schema, latent=1, likelihoods=DecoderLikelihoods(real="continuous-bernoulli")).check(rows)


WHOLE = [0, 1, 1, 0, 1]
KINDS = {
    "real": Column("x", "real"),
    "count": Column("x", "count"),
    "binary": Column("x", "binary"),
    "whole categories": Column("x", "categorical", (1, 0, 2)),
    "float categories": Column("x", "categorical", (0.0, 1.0)),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("column", KINDS.values(), ids=KINDS)
def test_machine_numbers_and_python_ones_are_the_same_cells(column, dtype):
    schema = Schema((column,))
    frame = pd.DataFrame({"x": np.array(WHOLE, dtype=dtype)}, index=[4, 4, 2, 7, 0])
    pd.testing.assert_frame_equal(conform(frame, schema), conform(frame.astype(object), schema))
    fast, slow = (prepare(each, schema)(each) for each in (frame, frame.astype(object)))
    assert torch.equal(fast.values, slow.values) and fast.checksum == slow.checksum


@pytest.mark.parametrize("column", KINDS.values(), ids=KINDS)
def test_missing_machine_numbers_stay_missing(column):
    frame = pd.DataFrame({"x": [0.0, np.nan, 1.0]})
    found = conform(frame, Schema((column,)))
    assert found["x"].isna().tolist() == [False, True, False]
    pd.testing.assert_frame_equal(found, conform(frame.astype(object), Schema((column,))))


def test_a_wide_table_prepares_to_the_cells_it_has():
    bits = (np.arange(40 * 50).reshape(40, 50) % 3 == 0).astype(np.uint8)
    table = image_table(bits, pixels="binary", image_shape=(5, 10))
    rows = prepare(table.frame, table.schema)(table.frame)
    np.testing.assert_array_equal(rows.values, bits)
    assert rows.values.is_contiguous() and rows.complete and rows.log_scale.abs().max() == 0


def test_a_conformed_table_conforms_to_itself_and_is_another():
    schema = Schema((Column("x", "categorical", (0, 1)), Column("y", "real")))
    once = conform(pd.DataFrame({"x": [0, 1, None], "y": [1.5, 2.5, 3.5]}), schema)
    twice = conform(once, schema)
    pd.testing.assert_frame_equal(once, twice)
    twice.loc[0, ["x", "y"]] = [1, 9.5]
    assert once.loc[0].tolist() == [0, 1.5]


TEXT = b"king 0.5 -1e-3\nqueen 2 .25 \n"
TEXTS = {"glove": TEXT, "header": b"2 2\n" + TEXT, "tabs": TEXT.replace(b" ", b"\t"), "xz": lzma.compress(TEXT)}


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_word_vectors_are_read_from_text_with_or_without_a_header(content, tmp_path):
    (tmp_path / "words.txt").write_bytes(content)
    found = read_word_vectors(tmp_path / "words.txt")
    expected = pd.DataFrame([[0.5, -0.001], [2.0, 0.25]], ["king", "queen"], ["dimension_0", "dimension_1"])
    pd.testing.assert_frame_equal(found, expected.rename_axis("word"), check_index_type=False)


def test_a_word_may_be_a_number_or_hold_wide_blanks(tmp_path):
    (tmp_path / "words.txt").write_bytes("7 1\n8\u00a0\u2028é 2\n".encode())
    found = read_word_vectors(tmp_path / "words.txt")
    assert found.index.tolist() == ["7", "8\u00a0\u2028é"] and found["dimension_0"].tolist() == [1, 2]


def test_word_vectors_are_read_from_npz_as_they_were_stored(tmp_path):
    vectors = np.array([[0.5, 1], [2, 3]], dtype=np.float32)
    np.savez(tmp_path / "words.npz", words=np.array(["a", "b"]), vectors=vectors)
    found = read_word_vectors(tmp_path / "words.npz")
    assert found.index.tolist() == ["a", "b"] and (found.dtypes == np.float32).all()
    np.testing.assert_array_equal(found.to_numpy(), vectors)


def test_king_less_man_and_more_woman_is_queen():
    vectors = read_word_vectors(shared("word_vectors", "word2vec_300d_1000words.npz"))
    assert vectors.shape == (1000, 300)
    wanted = vectors.loc["king"] - vectors.loc["man"] + vectors.loc["woman"]
    assert (vectors @ wanted).drop(["king", "man", "woman"]).idxmax() == "queen"


WORDS = {
    "no bytes": (b"", "words: expected a word and its numbers a line, got an empty file"),
    "longer line": (b"a 1 2\nb 1 2 3\n", "words: line 2: expected a word and 2 numbers, got 4 cells"),
    "shorter line": (b"2 2\na 1 2\nb 1\n", "words: line 3: expected a word and 2 numbers, got 2 cells"),
    "blank line": (b"a 1\n\nb 1\n", "words: line 2: expected a word and 1 numbers, got 0 cells"),
    "word alone": (b"a\nb\n", "words: line 1: expected a word and 1 numbers, got 1 cells"),
    "header of others": (b"3 2\na 1 2\nb 3 4\n", "line 1: expected 3 words of 2 dimensions as it says, got 2 lines"),
    "no number": (b"a 1 2\nb 1 x\n", "words: line 2: expected numbers after the word, .*b'x'"),
    "not finite": (b"2 2\na 1 2\nb 1 inf\n", "words: line 3: expected finite numbers, got inf"),
    "a word twice": (b"2 1\na 1\na 2\n", "words: line 3: 'a' was there before, at 2"),
    "no UTF-8": (b"a 1\n\xff 2\n", r"words: line 2: expected a word in UTF-8, got b'\\xff'"),
    "npz cut": (b"PK\x03\x04abc", "words: could not be read as npz: "),
}
ARRAYS = {
    "no vectors": ({"words": ["a"]}, "no array 'vectors'; the arrays are words"),
    "other length": (
        {"words": ["a"], "vectors": np.ones((2, 2))},
        r"expected words .* got \(1,\) of <U1 and \(2, 2\) of float64",
    ),
    "a word twice": ({"words": ["a", "a"], "vectors": np.ones((2, 2))}, "row 2: 'a' was there before, at 1"),
    "not finite": ({"words": ["a"], "vectors": np.full((1, 2), np.nan)}, "row 1: expected finite numbers, got nan"),
    "objects": ({"words": np.array(["a", None]), "vectors": np.ones((2, 2))}, "could not be read as npz: .*pickle"),
}


@pytest.mark.parametrize(("content", "message"), WORDS.values(), ids=WORDS)
def test_word_vectors_that_cannot_be_read_are_refused_by_line(content, message, tmp_path):
    (tmp_path / "words").write_bytes(content)
    refuse(lambda: read_word_vectors(tmp_path / "words"), message)


@pytest.mark.parametrize(("arrays", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_no_word_vectors_are_refused_by_name(arrays, message, tmp_path):
    np.savez(tmp_path / "words.npz", **arrays)
    refuse(lambda: read_word_vectors(tmp_path / "words.npz"), rf"words\.npz: {message}")
