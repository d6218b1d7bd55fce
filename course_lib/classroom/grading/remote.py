"""The judge's side of the pipe: what stands for a learner's functions and objects in a check."""

from __future__ import annotations

import builtins
import socket

import cloudpickle
import torch

from course_lib.classroom.grading import frames
from course_lib.classroom.grading.codec import CodecError, Decoder
from course_lib.classroom.grading.host import Handle
from course_lib.classroom.grading.restoring import restore, tensors

MISSING = object()


class Link:
    """The socket to a learner's process. gone: why it can no longer be asked, or empty."""

    def __init__(self, channel: socket.socket):
        self.channel, self.gone = channel, ""
        self.watched: list[list] = []  # [handle, name, tensor, version] of attributes that a check may write into

    def wait(self, progress) -> dict[int, dict]:
        """Errors of the learner's cells by number; `progress` is called with the number of each cell as it begins."""
        while True:
            header, _ = self._exchange()
            if "ready" in header:
                return {int(number): dict(error) for number, error in header["ready"].items()}
            progress(int(header["cell"]))

    def fetch(self, name: str):
        """What the learner calls by this name, or MISSING."""
        header, blobs = self._exchange({"do": "get", "name": name})
        return MISSING if "missing" in header else self._decode(header["value"], blobs)

    def ask(self, what: str, *payloads, **options):
        """One question whose answer is one value."""
        self._flush()
        header, blobs = self._exchange({"do": what, **options}, [cloudpickle.dumps(_given(p)) for p in payloads])
        return self._decode(header["value"], blobs)

    def call(self, handle: int, args: tuple, options: dict):
        """Call a learner's function: arguments go over by value, and what it did to them is done to ours."""
        self._flush()
        payload = cloudpickle.dumps(_given((args, options)))
        header, blobs = self._exchange({"do": "call", "handle": handle, "grad": torch.is_grad_enabled()}, [payload])
        given = [*args, *options.values()]
        for position, content in header["changed"]:
            restore(given[position], self._decode(content, blobs))
        if header["argument"] is not None:
            return given[header["argument"]]
        result = self._decode(header["value"], blobs)
        if "graph" in header:
            result = _attached(self, int(header["graph"]), result, [t for t in tensors([args, options]) if t.requires_grad])
        return result

    def attribute(self, handle: int, name: str):
        """An attribute of a learner's object; a tensor is watched, so that writing into it reaches the learner's side."""
        value = self.ask("attr", handle=handle, name=name)
        if isinstance(value, torch.Tensor):
            self.watched = [w for w in self.watched if w[:2] != [handle, name]]
            self.watched.append([handle, name, value, value._version])
        return value

    def _flush(self) -> None:
        for entry in self.watched:
            handle, name, tensor, version = entry
            if tensor._version != version:
                entry[3] = tensor._version
                self._exchange({"do": "copy", "handle": handle, "name": name}, [cloudpickle.dumps(tensor.detach())])

    def _exchange(self, request: dict | None = None, blobs: list[bytes] = ()) -> tuple[dict, list[bytes]]:
        if self.gone:
            raise frames.Gone(self.gone)
        try:
            if request is not None:
                frames.send(self.channel, request, blobs)
            header, found = frames.receive(self.channel)
        except frames.Gone as error:
            self.gone = str(error)
            raise
        if "error" in header:
            raise _error(header["error"])
        return header, found

    def _decode(self, tree, blobs: list[bytes]):
        try:
            return Decoder(blobs, lambda number, name: Remote(self, number, name)).decode(tree)
        except CodecError as error:
            self.gone = str(error)
            raise frames.Gone(self.gone) from None


class Remote:
    """A learner's function, class or object. It can be called, read and written; all else is the judge's own."""

    __slots__ = ("_link", "_number", "_type")

    def __init__(self, link: Link, number: int, name: str):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_type", name)

    def __call__(self, *args, **options):
        """Call it, where it is."""
        return self._link.call(self._number, args, options)

    def __getattr__(self, name: str):
        if name.startswith("__") and name not in ("__name__", "__doc__"):
            raise AttributeError(name)
        return self._link.attribute(self._number, name)

    def __setattr__(self, name: str, value) -> None:
        self._link.ask("setattr", value, handle=self._number, name=name)

    def __getitem__(self, key):
        return self._link.ask("item", key, handle=self._number)

    def __len__(self) -> int:
        return int(self._link.ask("length", handle=self._number))

    def __iter__(self):
        return iter(self._link.ask("elements", handle=self._number))

    def __contains__(self, value) -> bool:
        return self._link.ask("contains", value, handle=self._number) is True

    def __bool__(self) -> bool:
        return True

    def __instancecheck__(self, thing) -> bool:
        return type(thing) is Remote and self._link.ask("instance", handle=thing._number, of=self._number) is True

    def __repr__(self) -> str:
        return f"<the learner's {self._type}>"


class _Attached(torch.autograd.Function):
    """The learner's results in the judge's graph: their gradients are computed where the learner's graph is."""

    @staticmethod
    def forward(ctx, link, graph, outputs, *inputs):
        ctx.link, ctx.graph = link, graph
        return tuple(t.detach().clone() for t in outputs)

    @staticmethod
    def backward(ctx, *gradients):
        found = ctx.link.ask("backward", [g.contiguous() for g in gradients], graph=ctx.graph)
        return None, None, None, *found


def _attached(link: Link, graph: int, result, inputs: list[torch.Tensor]):
    outputs = [t for t in tensors(result) if t.requires_grad]
    joined = iter(_Attached.apply(link, graph, outputs, *inputs))
    return _replaced(result, lambda t: next(joined) if t.requires_grad else t)


def _replaced(value, new):
    if isinstance(value, torch.Tensor):
        return new(value)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(part, new) for part in value)
    return {k: _replaced(part, new) for k, part in value.items()} if isinstance(value, dict) else value


def _given(value):
    """Arguments for the learner's side: what stands for its own objects becomes their number."""
    kind = type(value)
    if kind is Remote:
        return Handle(value._number)
    if kind in (list, tuple):
        return kind(_given(v) for v in value)
    return {k: _given(v) for k, v in value.items()} if kind is dict else value


def _error(told: dict) -> Exception:
    """An exception of the type that the learner's code raised, where that is one of Python's own; `where` says the line."""
    name, text = str(told.get("type"))[:80], str(told.get("text"))[:500]
    kind = getattr(builtins, name, None)
    fair = isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError
    try:
        error = kind(text) if fair else type(name if name.isidentifier() else "Error", (RuntimeError,), {})(text)
    except TypeError:  # some of Python's own want more than a text
        error = RuntimeError(f"{name}: {text}")
    error.where = str(told.get("where"))[:500]
    return error
