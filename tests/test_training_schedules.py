import math

import pytest
import torch
from torch import nn
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from course_lib.training import Training, parameter_groups, schedule

PEERS = {
    "constant": lambda optimizer, warmup, steps: get_constant_schedule_with_warmup(optimizer, warmup),
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0, 1 / 2, 1, 1, 1, 1, 1, 1]),
        ("linear", [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [0, 1 / 2, 1, (1 + math.sqrt(3) / 2) / 2, 3 / 4, 1 / 2, 1 / 4, (1 - math.sqrt(3) / 2) / 2]),
    ],
)
def test_values_by_hand(name, expected):
    factor = schedule(name, steps=8, warmup=0.25)
    assert [factor(step) for step in range(8)] == pytest.approx(expected)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("steps", "warmup", "rise"), [(30, 0.1, 3), (7, 0.0, 0), (11, 0.5, 6), (1, 0.0, 0), (100, 0.06, 6)])
def test_values_equal_those_of_transformers(name, steps, warmup, rise):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = PEERS[name](optimizer, rise, steps).lr_lambdas[0]
    factor = schedule(name, steps=steps, warmup=warmup)
    assert [factor(t) for t in range(steps + 1)] == pytest.approx([peer(t) for t in range(steps + 1)], abs=1e-12)


@pytest.mark.parametrize("options", [{"name": "step"}, {"steps": 0}, {"warmup": 1.0}, {"warmup": -0.1}])
def test_a_schedule_out_of_range_is_refused(options):
    options = {"name": "linear", "steps": 5} | options
    with pytest.raises(ValueError, match="schedule is one of|steps starts at 1"):
        schedule(options.pop("name"), **options)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.linear, self.norm = nn.Embedding(5, 3), nn.Linear(3, 3), nn.LayerNorm((3, 3))
        self.user_bias = nn.Embedding(4, 1)
        self.tied, self.tied.weight = nn.Linear(3, 5, bias=False), self.words.weight


def test_only_matrices_decay():
    model = Small()
    decayed, rest = parameter_groups(model, weight_decay=0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["words.weight", "linear.weight"]
    assert {names[id(p)] for p in rest["params"]} == {"linear.bias", "norm.weight", "norm.bias", "user_bias.weight"}
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


def test_frozen_parameters_and_those_not_chosen_are_left_out():
    model = Small()
    model.words.requires_grad_(False)
    (group,) = parameter_groups(model, weight_decay=0.1, parameters=[model.words.weight, model.norm.weight])
    assert group["params"] == [model.norm.weight] and group["weight_decay"] == 0.0
    assert parameter_groups(model.words, weight_decay=0.1) == []


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0}, {"batch_size": 0}, {"accumulate": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}, {"weight_decay": -1.0},
        {"clip": 0.0}, {"schedule": "steps"}, {"adversarial": "fgsm"}, {"epsilon": -1.0}, {"attacks": 0},
        {"attack_size": 0.0}, {"patience": 0}, {"better": "more"},
    ],
    ids=lambda o: next(iter(o)),
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=f"Training: {next(iter(options))} must be"):
        Training(**options)
