"""Values across the pipe as plain data: a learner's process can send numbers, words and tables, and nothing that runs.

A value becomes a tree of JSON lists, `[tag, …]`, and a list of binary blobs for arrays. What is no data (a function, an
object) becomes a handle, `["remote", number, type]`; who reads it decides what a handle may do.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import math
import types
from collections.abc import Callable
from pathlib import PurePath

import numpy as np
import pandas as pd
import torch
from scipy import sparse

DEEPEST, LARGEST, MOST = 60, 64 << 20, 2_000_000  # levels, bytes of all blobs, values
KINDS = "biufcMmSU"  # numpy's kinds of numbers and words
TEXTS = {
    decimal.Decimal: str, fractions.Fraction: str, datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat, pd.Timestamp: pd.Timestamp.isoformat,
}  # fmt: skip
READ_TEXT = {
    "Decimal": decimal.Decimal, "Fraction": fractions.Fraction, "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat, "Timestamp": pd.Timestamp,
}  # fmt: skip
VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
LAZY = (types.GeneratorType, map, filter, zip, enumerate, reversed, type(iter([])), type(iter(())), type(iter(range(0))))


class CodecError(ValueError):
    """A value that is too large or too deep for the pipe, or bytes that are no value."""


class Encoder:
    """One value into a tree and blobs. `remote`: object → number of its handle."""

    def __init__(self, remote: Callable[[object], int]):
        self.remote, self.blobs, self.bytes, self.values = remote, [], 0, 0

    def encode(self, value, depth: int = 0):
        """Tree of a value; CodecError for one that is too large."""
        self.values += 1
        if depth > DEEPEST or self.values > MOST:
            raise CodecError(f"a value of more than {DEEPEST} levels or {MOST:,} parts cannot be handed over")
        kind = type(value)
        if value is None or kind is bool:
            return value
        known = kind if kind in WRITERS else _base(kind)
        if known is not None:
            return WRITERS[known](self, value, depth + 1)
        return ["remote", self.remote(value), kind.__name__[:80]]

    def _blob(self, data: bytes) -> int:
        self.bytes += len(data)
        if self.bytes > LARGEST:
            raise CodecError(f"a value of more than {LARGEST >> 20} MB cannot be handed over")
        self.blobs.append(data)
        return len(self.blobs) - 1

    def _int(self, value, depth):
        plain = int.__index__(value)
        return ["int", plain if abs(plain) < 1 << 53 else str(plain)]

    def _float(self, value, depth):
        return ["float", float.hex(value)]

    def _str(self, value, depth):
        text = str.__str__(value)
        self.bytes += len(text)
        if self.bytes > LARGEST:
            raise CodecError(f"a value of more than {LARGEST >> 20} MB cannot be handed over")
        return ["str", text.encode("utf-8", "replace").decode()]

    def _dict(self, value, depth):
        pairs = [[self.encode(k, depth), self.encode(v, depth)] for k, v in dict.items(value)]
        return [
            "dict",
            pairs,
            type(value).__name__ if type(value) in (collections.Counter, collections.OrderedDict) else "dict",
        ]

    def _lazy(self, value, depth):
        found = []
        for element in value:
            found.append(element)
            if len(found) > MOST:
                raise CodecError(f"an iterator that goes on beyond {MOST:,} values")
        return ["iter", [self.encode(v, depth) for v in found]]

    def _array(self, value, depth):
        value = np.asarray(value)
        if value.dtype.kind not in KINDS:
            return ["objects", list(value.shape), [self.encode(v, depth) for v in value.ravel().tolist()]]
        return ["array", value.dtype.str, list(value.shape), self._blob(np.ascontiguousarray(value).tobytes())]

    def _tensor(self, value, depth):
        if value.layout is not torch.strided:
            return self._tensor(value.to_dense(), depth)
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        name = "Parameter" if isinstance(value, torch.nn.Parameter) else "Tensor"
        return ["tensor", str(plain.dtype).split(".")[1], list(plain.shape), self._blob(data), value.requires_grad, name]

    def _frame(self, value, depth):
        columns = [self._column(value.iloc[:, i], depth) for i in range(value.shape[1])]
        return ["frame", self._index(value.columns, depth), self._index(value.index, depth), columns]

    def _series(self, value, depth):
        return ["series", self._column(value, depth), self._index(value.index, depth), self.encode(value.name, depth)]

    def _column(self, value, depth):
        if isinstance(value.dtype, np.dtype) and value.dtype.kind in KINDS:
            return [str(value.dtype), self._array(value.to_numpy(), depth)]
        name = str(value.dtype)
        known = name in ("str", "string", "category", "boolean") or name.startswith(("Int", "UInt", "Float"))
        return [name if known else "object", ["list", [self.encode(v, depth) for v in value.tolist()]]]

    def _index(self, value, depth):
        if isinstance(value, pd.MultiIndex):
            return ["levels", [self.encode(v, depth) for v in value.tolist()], [self.encode(n, depth) for n in value.names]]
        return ["index", self._column(value, depth), self.encode(value.name, depth)]

    def _sparse(self, value, depth):
        matrix = sparse.csr_matrix(value)
        return ["csr", list(matrix.shape), *(self._array(a, depth) for a in (matrix.data, matrix.indices, matrix.indptr))]

    def _linear(self, value, depth):
        return ["linear", self.encode(value.weight, depth), self.encode(value.bias, depth), value.training]

    def _text(self, value, depth):
        return ["text", type(value).__name__, TEXTS[type(value)](value)]


def _base(kind: type) -> type | None:
    """The nearest base that is data; a number of numpy's is numpy's, though some are Python's as well."""
    return np.generic if np.generic in kind.__mro__ else next((base for base in kind.__mro__ if base in BASES), None)


def _many(tag: str):
    return lambda encoder, value, depth: [tag, [encoder.encode(v, depth) for v in value]]


WRITERS = {
    int: Encoder._int, float: Encoder._float, str: Encoder._str, dict: Encoder._dict,
    complex: lambda e, v, d: ["complex", v.real.hex(), v.imag.hex()],
    bytes: lambda e, v, d: ["bytes", e._blob(v)], bytearray: lambda e, v, d: ["bytes", e._blob(bytes(v))],
    type(...): lambda e, v, d: ["ellipsis"],
    type(pd.NA): lambda e, v, d: ["na"], range: lambda e, v, d: ["range", v.start, v.stop, v.step],
    list: lambda e, v, d: ["list", [e.encode(x, d) for x in list.__iter__(v)]],
    tuple: lambda e, v, d: ["tuple", [e.encode(x, d) for x in tuple.__iter__(v)]],
    set: lambda e, v, d: ["set", [e.encode(x, d) for x in set.__iter__(v)]],
    frozenset: lambda e, v, d: ["frozenset", [e.encode(x, d) for x in frozenset.__iter__(v)]],
    **dict.fromkeys((*VIEWS, collections.deque), _many("list")), torch.Size: _many("tuple"),
    **dict.fromkeys(LAZY, Encoder._lazy), **dict.fromkeys(TEXTS, Encoder._text),
    torch.Tensor: Encoder._tensor, np.ndarray: Encoder._array, np.generic: lambda e, v, d: ["scalar", e._array(v, d)],
    pd.DataFrame: Encoder._frame, pd.Series: Encoder._series, pd.Index: Encoder._index,
    sparse.sparray: Encoder._sparse, sparse.spmatrix: Encoder._sparse, torch.nn.Linear: Encoder._linear,
    torch.dtype: lambda e, v, d: ["dtype", str(v).split(".")[1]], PurePath: lambda e, v, d: ["str", str(v)],
    np.random.Generator: lambda e, v, d: ["rng", type(v.bit_generator).__name__, e.encode(v.bit_generator.state, d)],
}  # fmt: skip
BASES = tuple(kind for kind in WRITERS if kind not in (torch.nn.Linear, *TEXTS, *LAZY))  # a subclass is its base's data


class Decoder:
    """A tree and blobs into fresh values. `remote`: (number, type's name) → what stands for the handle."""

    def __init__(self, blobs: list[bytes], remote: Callable[[int, str], object]):
        self.blobs, self.remote = blobs, remote

    def decode(self, tree):
        """Value of a tree; CodecError for anything that no encoder writes."""
        try:
            return self._decode(tree)
        except CodecError:
            raise
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            RuntimeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise CodecError(f"this is no value: {type(error).__name__}") from None

    def _decode(self, tree):
        if tree is None or tree is True or tree is False:
            return tree
        tag, *parts = tree
        return self.READERS[tag](self, *parts)

    def _all(self, trees) -> list:
        return [self._decode(t) for t in trees]

    def _array(self, dtype: str, shape: list, blob: int) -> np.ndarray:
        kind = np.dtype(dtype)
        if kind.kind not in KINDS:
            raise CodecError(f"no array of {dtype}")
        return np.frombuffer(self.blobs[blob], dtype=kind).reshape(shape).copy()

    def _objects(self, shape: list, values: list) -> np.ndarray:
        array = np.empty(math.prod(shape), dtype=object)
        array[:] = self._all(values)
        return array.reshape(shape)

    def _tensor(self, dtype: str, shape: list, blob: int, grad: bool, name: str) -> torch.Tensor:
        kind = getattr(torch, dtype)
        if not isinstance(kind, torch.dtype):
            raise CodecError(f"no tensor of {dtype}")
        data = bytearray(self.blobs[blob])
        plain = torch.frombuffer(data, dtype=kind).reshape(shape).clone() if data else torch.empty(shape, dtype=kind)
        return torch.nn.Parameter(plain, requires_grad=grad) if name == "Parameter" else plain.requires_grad_(grad)

    def _dict(self, pairs: list, name: str) -> dict:
        plain = {self._decode(k): self._decode(v) for k, v in pairs}
        return {"Counter": collections.Counter, "OrderedDict": collections.OrderedDict, "dict": dict}[name](plain)

    def _column(self, column: list):
        name, values = column
        values = self._decode(values)
        return values if isinstance(values, np.ndarray) else pd.Series(values, dtype=name).array

    def _index(self, column: list, name) -> pd.Index:
        return pd.Index(self._column(column), name=self._decode(name))

    def _levels(self, values: list, names: list) -> pd.MultiIndex:
        return pd.MultiIndex.from_tuples(self._all(values), names=self._all(names))

    def _frame(self, columns, index, values) -> pd.DataFrame:
        frame = pd.DataFrame({i: self._column(v) for i, v in enumerate(values)}, index=self._decode(index))
        frame.columns = self._decode(columns)
        return frame

    def _series(self, column, index, name) -> pd.Series:
        return pd.Series(self._column(column), index=self._decode(index), name=self._decode(name))

    def _csr(self, shape, data, indices, indptr) -> sparse.csr_matrix:
        return sparse.csr_matrix(tuple(self._all([data, indices, indptr])), shape=shape)

    def _linear(self, weight, bias, training) -> torch.nn.Linear:
        weight, bias = self._decode(weight), self._decode(bias)
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).train(training)
        layer.weight = weight
        layer.bias = bias
        return layer

    def _rng(self, name: str, state) -> np.random.Generator:
        if name not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
            raise CodecError(f"no generator {name}")
        bits = getattr(np.random, name)()
        bits.state = self._decode(state)
        return np.random.Generator(bits)

    def _dtype(self, name: str) -> torch.dtype:
        return torch.zeros(0, dtype=getattr(torch, name)).dtype

    READERS = {
        "int": lambda s, v: int(v), "float": lambda s, v: float.fromhex(v), "str": lambda s, v: str(v),
        "complex": lambda s, a, b: complex(float.fromhex(a), float.fromhex(b)), "bytes": lambda s, b: s.blobs[b],
        "ellipsis": lambda s: ...,
        "na": lambda s: pd.NA, "list": lambda s, v: s._all(v), "tuple": lambda s, v: tuple(s._all(v)),
        "set": lambda s, v: set(s._all(v)), "frozenset": lambda s, v: frozenset(s._all(v)),
        "iter": lambda s, v: iter(s._all(v)), "dict": _dict, "range": lambda s, a, b, c: range(a, b, c),
        "array": _array, "objects": _objects, "scalar": lambda s, v: s._decode(v)[()], "tensor": _tensor,
        "frame": _frame, "series": _series, "index": _index, "levels": _levels, "csr": _csr, "linear": _linear,
        "rng": _rng, "dtype": _dtype, "text": lambda s, name, text: READ_TEXT[name](text),
        "remote": lambda s, n, name: s.remote(int(n), str(name)),
    }  # fmt: skip
