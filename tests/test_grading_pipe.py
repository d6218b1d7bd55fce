"""A check that calls across the pipe sees what it would see in one process."""

import os
import signal
import socket

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from course_lib.classroom.grading import frames
from course_lib.classroom.grading.host import Host
from course_lib.classroom.grading.remote import MISSING, Link, Remote

CELLS = [
    """
import numpy as np, torch
from torch import nn
def add(x, y): return x + y
def spoil(numbers, array, tensor, table, seen):
    numbers.append(3); array[0] = 9; tensor.add_(1); table["z"] = 1; seen.add(5)
    return numbers
def hinge(true, false, margin): return (true - false + margin).clamp(min=0).mean(), 7
class Scaled(nn.Module):
    kind = "scaled"
    def __init__(self, base, by=1.0):
        super().__init__(); self.base = base; self.by = nn.Parameter(torch.tensor(by))
    def forward(self, x): return self.base(x) * self.by
    def merged(self): return nn.Linear(2, 2)
def freeze(model):
    for name, p in model.named_parameters(): p.requires_grad_(name.endswith("bias"))
def draw(rng): return rng.integers(1000)
def quiet(model, x):
    with torch.no_grad():
        model.eval(); model(x); model.train()
def widen(frame): frame["q"] = 1; return frame
def boom(): raise KeyError("film")
def unfair(): raise AssertionError("mine")
def leave(): raise SystemExit(0)
class Shelf:
    def __init__(self): self.books = ["a", "b"]
    def __len__(self): return len(self.books)
    def __getitem__(self, i): return self.books[i]
    def __iter__(self): return iter(self.books)
    def __contains__(self, b): return b in self.books
def of(shelf): return shelf.books[0]
def adder(n): return lambda x: x + n
def each(function, values): return [function(v) for v in values]
answer = ...
""",
    "1 / 0",
    "def half(:",
]


@pytest.fixture
def link():
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            ours.close()
            Host(theirs, InteractiveShell()).run([(source, []) for source in CELLS])
        finally:
            os._exit(0)
    theirs.close()
    link = Link(ours)
    link.child = child
    link.begun = []
    link.errors = link.wait(link.begun.append)
    yield link
    ours.close()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_cells_are_told_as_they_begin_and_their_errors_with_the_line(link):
    assert link.begun == [0, 1, 2] and set(link.errors) == {1, 2}
    assert link.errors[1]["type"] == "ZeroDivisionError" and link.errors[1]["where"] == "line 1 of your cell: 1 / 0"
    assert link.errors[2]["type"] == "SyntaxError" and "line 1" in link.errors[2]["where"]


def test_calls_and_names(link):
    assert link.fetch("add")(2, y=3) == 5
    assert link.fetch("nothing") is MISSING and link.fetch("answer") is ...
    assert link.fetch("adder")(2)(40) == 42


def test_what_a_call_does_to_its_arguments_is_done_to_ours(link):
    numbers, array, tensor, table, seen = [1], np.zeros(2), torch.zeros(2), {}, {1}
    found = link.fetch("spoil")(numbers, array, tensor, table, seen)
    assert found is numbers and numbers == [1, 3] and array.tolist() == [9, 0] and tensor.tolist() == [1, 1]
    assert table == {"z": 1} and seen == {1, 5}
    frame = pd.DataFrame({"a": [1]})
    assert link.fetch("widen")(frame) is frame and list(frame.columns) == ["a", "q"]


def test_a_generator_goes_on_where_the_learner_left_it(link):
    ours, same = np.random.default_rng(3), np.random.default_rng(3)
    draw = link.fetch("draw")
    assert [draw(ours), draw(ours), ours.integers(1000)] == [same.integers(1000) for _ in range(3)]


def test_gradients_flow_through_a_call(link):
    true = torch.tensor([1.0, 3.0], requires_grad=True)
    cost, other = link.fetch("hinge")(true, torch.tensor([2.0, 1.0]), 0.5)
    assert other == 7 and cost.dim() == 0 and cost.requires_grad and cost.item() == 1.25
    (2 * cost).backward()
    assert true.grad.tolist() == [0, 1]
    with torch.no_grad():
        assert not link.fetch("hinge")(true, torch.tensor([2.0, 1.0]), 0.5)[0].requires_grad


def test_a_class_and_its_objects(link):
    Scaled = link.fetch("Scaled")
    base = nn.Linear(2, 2)
    layer = Scaled(base, by=2.0)
    x = torch.ones(1, 2)
    assert torch.allclose(layer(x), 2 * base(x)) and layer.kind == "scaled" and torch.equal(layer.base.weight, base.weight)
    with torch.no_grad():
        layer.by.fill_(5.0)
    assert torch.allclose(layer(x), 5 * base(x)), "what the check writes into a parameter must reach the learner's object"
    assert isinstance(layer, Scaled) and not isinstance(3, Scaled) and isinstance(layer.merged(), nn.Linear)
    assert layer.eval().training is False
    layer.note = 4
    assert layer.note == 4


def test_containers_and_objects_as_arguments(link):
    shelf = link.fetch("Shelf")()
    assert len(shelf) == 2 and shelf[1] == "b" and list(shelf) == ["a", "b"] and "b" in shelf and "c" not in shelf
    assert link.fetch("of")(shelf) == "a" and bool(shelf) and "Shelf" in repr(shelf)
    assert shelf != link.fetch("Shelf")() and shelf != 3


def test_our_functions_and_modules_go_over(link):
    assert link.fetch("each")(lambda v: v + 1, [1, 2]) == [2, 3]
    model = nn.ModuleDict({"h": nn.Linear(2, 2)})
    link.fetch("freeze")(model)
    assert [p.requires_grad for p in model.parameters()] == [False, True]

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append((torch.is_grad_enabled(), self.training))
            return x

    spy = Spy()
    link.fetch("quiet")(spy, torch.ones(1))
    assert spy.seen == [(False, False)] and spy.training


def test_errors_have_their_type_and_place(link):
    with pytest.raises(KeyError) as caught:
        link.fetch("boom")()
    assert "film" in str(caught.value) and caught.value.where.startswith("boom, line ")
    for name, kind in (("unfair", "AssertionError"), ("leave", "SystemExit")):
        with pytest.raises(RuntimeError) as caught:
            link.fetch(name)()
        assert type(caught.value).__name__ == kind and not isinstance(caught.value, AssertionError)


def test_the_end_of_the_other_side_is_noticed_and_remembered(link):
    add = link.fetch("add")
    os.kill(link.child, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(frames.Gone):
            add(1, 2)
    assert link.gone and isinstance(add, Remote)


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 20, b"\0" * 7 + b"\x02[]", b"\0" * 7 + b"\x0e" + b'{"blobs":[-1]}'])
def test_what_is_no_message_ends_the_talk(data):
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.close()
    with pytest.raises(frames.Gone):
        frames.receive(ours)
    ours.close()
