"""The learner's side of the pipe: runs the learner's cells, and answers the judge's calls with plain data."""

from __future__ import annotations

import contextlib
import linecache
import pickle
import socket

import torch

from course_lib.classroom.grading import frames
from course_lib.classroom.grading.codec import Encoder
from course_lib.classroom.grading.restoring import differences, snapshot, tensors

LONGEST_TEXT = 400  # characters of an error's message


class Host:
    """Serves one exercise of one learner over a socket. shell: IPython's, its namespace that of the lesson so far."""

    def __init__(self, channel: socket.socket, shell):
        self.channel, self.shell = channel, shell
        self.handles, self.graphs = [], {}

    def serve(self) -> None:
        """Get the cells from the channel, and run them."""
        self.run(frames.receive(self.channel)[0]["cells"])

    def run(self, cells: list[tuple[str, list[str]]]) -> None:
        """Execute cells, telling before each which one it is; then answer until the judge hangs up.

        With each cell come the names that the lesson has bound after it: they stay what the lesson made them.
        """
        errors, names = {}, self.shell.user_ns
        for number, (source, kept) in enumerate(cells):
            frames.send(self.channel, {"cell": number})
            before = {name: names[name] for name in kept if name in names}
            result = self.shell.run_cell(source, store_history=False)
            names.update(before)
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                errors[number] = self._describe(error)
        frames.send(self.channel, {"ready": errors})
        with contextlib.suppress(frames.Gone):
            while True:
                self._answer(*frames.receive(self.channel))

    def _answer(self, request: dict, blobs: list[bytes]) -> None:
        try:
            reply, out = getattr(self, "_" + request.pop("do"))(*map(pickle.loads, blobs), **request)
        except BaseException as error:
            reply, out = {"error": self._describe(error)}, []
        frames.send(self.channel, reply, out)

    def _describe(self, error: BaseException) -> dict:
        """Type, message and the last line of the learner's own that an error passed through."""
        found, trace = "", error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if trace.tb_frame.f_globals is self.shell.user_ns:
                line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
                found = f"{code.co_name}, line {trace.tb_lineno} of your cell: {line}".replace("<module>, ", "")
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and error.lineno:
            found = f"line {error.lineno} of your cell: {(error.text or '').strip()}"
        try:
            text = str(error)[:LONGEST_TEXT]
        except Exception:
            text = ""
        return {"type": type(error).__name__[:80], "text": text, "where": found[:LONGEST_TEXT]}

    def _handle(self, thing) -> int:
        self.handles.append(thing)
        return len(self.handles) - 1

    def _value(self, thing, **more) -> tuple[dict, list[bytes]]:
        encoder = Encoder(self._handle)
        return {"value": encoder.encode(thing), **more}, encoder.blobs

    def _get(self, *, name: str):
        if name not in self.shell.user_ns:
            return {"missing": name}, []
        return self._value(self.shell.user_ns[name])

    def _call(self, payload, *, handle: int, grad: bool):
        args, options = self._own(payload)
        given, inputs = [*args, *options.values()], tensors([args, options])
        before = [snapshot(value) for value in given]
        with torch.set_grad_enabled(grad):
            result = self.handles[handle](*args, **options)
        number = next(
            (i for i, value in enumerate(given) if value is result and not isinstance(value, int | float | str)), None
        )
        encoder = Encoder(self._handle)
        changed = [[i, encoder.encode(new)] for i, new in differences(before, given)]
        outputs = [t for t in tensors(result) if t.requires_grad] if any(t.requires_grad for t in inputs) else []
        reply = {"value": None if number is not None else encoder.encode(result), "argument": number, "changed": changed}
        if outputs:
            self.graphs[len(self.graphs)] = outputs, [t for t in inputs if t.requires_grad]
            reply["graph"] = len(self.graphs) - 1
        return reply, encoder.blobs

    def _backward(self, gradients, *, graph: int):
        """Gradients of the inputs of an earlier call, None for those that do not matter."""
        outputs, inputs = self.graphs[graph]
        found = torch.autograd.grad(outputs, inputs, gradients, retain_graph=True, allow_unused=True)
        return self._value(list(found))

    def _attr(self, *, handle: int, name: str):
        return self._value(getattr(self.handles[handle], name))

    def _setattr(self, payload, *, handle: int, name: str):
        setattr(self.handles[handle], name, self._own(payload))
        return {"value": None}, []

    def _copy(self, payload, *, handle: int, name: str):
        getattr(self.handles[handle], name).data.copy_(payload)
        return {"value": None}, []

    def _item(self, payload, *, handle: int):
        return self._value(self.handles[handle][self._own(payload)])

    def _length(self, *, handle: int):
        return self._value(len(self.handles[handle]))

    def _elements(self, *, handle: int):
        return self._value(list(self.handles[handle]))

    def _contains(self, payload, *, handle: int):
        return self._value(bool(self._own(payload) in self.handles[handle]))

    def _instance(self, *, handle: int, of: int):
        return self._value(isinstance(self.handles[handle], self.handles[of]))

    def _own(self, value):
        """Handles in a judge's arguments become the learner's own objects again."""
        kind = type(value)
        if kind is Handle:
            return self.handles[value.number]
        if kind in (list, tuple):
            return kind(self._own(v) for v in value)
        return {k: self._own(v) for k, v in value.items()} if kind is dict else value


class Handle:
    """In the judge's arguments: an object that the learner's side has."""

    def __init__(self, number: int):
        self.number = number
