"""Plain data across the pipe: what goes in comes out, and nothing else comes out."""

import collections
import datetime
import decimal
import fractions
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from course_lib.classroom.grading.codec import LARGEST, CodecError, Decoder, Encoder

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def there_and_back(value):
    encoder = Encoder(lambda thing: 7)
    tree = json.loads(json.dumps(encoder.encode(value)))
    return Decoder(encoder.blobs, lambda number, name: ("remote", number, name)).decode(tree)


@given(PLAIN)
def test_plain_values_come_back_of_the_same_type(value):
    assert repr(there_and_back(value)) == repr(value).encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, frozenset("ab"), range(2, 9, 3), ..., 2**80, 1 + 2j, collections.Counter("aab"), collections.OrderedDict(a=1),
        decimal.Decimal("1.10"), fractions.Fraction(1, 3), datetime.date(2026, 1, 2), pd.Timestamp("2026-01-02 03:04"), pd.NA,
        np.float32(0.1), np.int8(-3), np.str_("word"), torch.bfloat16, np.datetime64("2026-01-02"),
    ],
)  # fmt: skip
def test_other_values_come_back_equal(value):
    found = there_and_back(value)
    assert found is value or (found == value and type(found) is type(value))


@pytest.mark.parametrize(
    "array",
    [np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.zeros((0, 4)), np.array(2.5), np.array(["a", "bc"]),
     np.array([True, False]), np.array([1 + 1j]), np.array([1, None, "x"], dtype=object), np.arange(12)[::-2]],
)  # fmt: skip
def test_arrays(array):
    found = there_and_back(array)
    assert found.dtype == array.dtype and found.shape == array.shape and found.tolist() == array.tolist()
    assert found.flags.writeable


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_tensors(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype).T
    found = there_and_back(tensor)
    assert torch.equal(found, tensor) and found.dtype == dtype
    assert there_and_back(torch.zeros(0, 3)).shape == (0, 3)


def test_tensors_keep_their_kind():
    assert isinstance(there_and_back(torch.nn.Parameter(torch.ones(2))), torch.nn.Parameter)
    assert there_and_back(torch.ones(2, requires_grad=True)).requires_grad
    assert there_and_back(torch.eye(3).to_sparse()).tolist() == torch.eye(3).tolist()


def test_frames_and_series():
    frame = pd.DataFrame({"n": [1, 2], "word": ["a", None], "x": [0.5, np.nan]}, index=pd.Index(["p", "q"], name="row"))
    frame["day"], frame["kind"] = pd.to_datetime(["2026-01-01", "2026-02-01"]), pd.Categorical(["u", "v"])
    frame["maybe"] = pd.array([1, None], dtype="Int64")
    pd.testing.assert_frame_equal(there_and_back(frame), frame)
    pd.testing.assert_series_equal(there_and_back(frame.word), frame.word)
    levels = frame.set_index(["n", "word"])[["x"]]
    pd.testing.assert_frame_equal(there_and_back(levels), levels)
    assert there_and_back(pd.DataFrame()).shape == (0, 0)
    doubled = pd.DataFrame([[1, 2]], columns=["a", "a"])
    pd.testing.assert_frame_equal(there_and_back(doubled), doubled)


def test_sparse_linear_and_generators():
    matrix = sparse.random_array((4, 5), density=0.4, rng=np.random.default_rng(0))
    assert (there_and_back(matrix).toarray() == matrix.toarray()).all()
    layer = torch.nn.Linear(2, 3).eval()
    found = there_and_back(layer)
    assert torch.equal(found(torch.ones(1, 2)), layer(torch.ones(1, 2))) and not found.training
    rng = np.random.default_rng(5)
    rng.random(3)
    assert there_and_back(rng).random() == rng.random()


def test_subclasses_arrive_as_their_base():
    class Agreeable(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    class AgreeableArray(np.ndarray):
        def __eq__(self, other):
            return np.ones(self.shape, dtype=bool)

    assert type(there_and_back(Agreeable(2))) is float and there_and_back(Agreeable(2)) != 3
    found = there_and_back(np.arange(3).view(AgreeableArray))
    assert type(found) is np.ndarray and not (found == 7).any()


def test_what_is_no_data_becomes_a_handle():
    assert there_and_back(len) == ("remote", 7, "builtin_function_or_method")
    assert there_and_back([object()]) == [("remote", 7, "object")]


def test_iterators_are_read_to_their_end():
    assert list(there_and_back(n * n for n in range(4))) == [0, 1, 4, 9]
    assert there_and_back({"a": 1}.keys()) == ["a"]


def test_what_is_too_large_is_refused():
    deep = []
    for _ in range(100):
        deep = [deep]
    endless = iter(int, 1)
    for value in (deep, np.zeros(LARGEST // 8 + 1), "x" * (LARGEST + 1), (0 for _ in endless)):
        with pytest.raises(CodecError):
            there_and_back(value)


@pytest.mark.parametrize(
    "tree",
    [["array", "|O", [1], 0], ["array", "<f8", [9], 0], ["tensor", "load", [1], 0, False, "Tensor"],
     ["remote"], ["dtype", "save"], ["text", "open", "x"], ["system", "ls"], 5, "word", [], {}, ["rng", "seed", None],
     ["dict", [[["list", []], None]], "dict"], ["dict", [], "eval"], ["float", "x"],
     ["levels", [], []], ["csr", [1, 1], None, None, None]],
)  # fmt: skip
def test_forged_trees_are_refused(tree):
    with pytest.raises(CodecError):
        Decoder([b"12345678"], lambda number, name: None).decode(tree)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=15))
def test_no_tree_does_anything_else(tree):
    try:
        Decoder([b"abcd"], lambda number, name: None).decode(tree)
    except CodecError:
        pass
