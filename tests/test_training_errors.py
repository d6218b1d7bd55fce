import re

import pytest
import torch
from torch import nn

from course_lib.training import Training, TrainingError, fit
from course_lib.training.errors import smaller


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.item, self.bias = nn.Embedding(5, 2), nn.Parameter(torch.zeros(5))

    def forward(self, index):
        return self.item(index).sum(-1)


def dot(model, batch):
    return model(batch).mean()


def attempt(data=None, loss=dot, model=None, collate=None, validate=None, parameters=None, **options):
    data = torch.arange(5) if data is None else data
    options = {"batch_size": 2, "progress": False, "bf16": False} | options
    model = Table() if model is None else model
    return fit(model, data, loss=loss, config=Training(**options), collate=collate, validate=validate, parameters=parameters)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(value):
    model, calls = Table(), []

    def loss(model, batch):
        calls.append(1)
        return dot(model, batch).square() * (value if len(calls) == 2 else 1.0)

    with pytest.raises(TrainingError, match=rf"the loss is {value} at step 2; try a learning_rate below 0.1.*NaN.*data"):
        attempt(loss=loss, model=model, learning_rate=0.1)
    assert all(p.isfinite().all() for p in model.parameters()), "the step was not taken"


def test_a_gradient_that_is_no_number():
    model = Table()
    with pytest.raises(TrainingError, match="the gradient is nan at step 1 of epoch 1; try a learning_rate below .*bf16=False"):
        attempt(loss=lambda m, b: (m.item(b) * 0).square().sum().sqrt(), model=model, bf16=True)
    assert model.item.weight.isfinite().all()


@pytest.mark.parametrize("data", [[], torch.zeros(0, 3), (torch.zeros(0), torch.zeros(0)), {}, ()], ids=repr)
def test_empty_data(data):
    with pytest.raises(TrainingError, match="the data are empty.*check the split"):
        attempt(data=data)


def test_an_empty_batch():
    with pytest.raises(TrainingError, match=r"empty batch of 2 rows \(the first is row \d\); leave rows without content out"):
        attempt(data=[0, 1, 2, 3], collate=lambda rows: torch.tensor([], dtype=torch.long))


def test_columns_of_different_lengths():
    with pytest.raises(TrainingError, match=r"different lengths: \[3, 4\]"):
        attempt(data=(torch.arange(3), torch.arange(4)))


def test_data_without_length():
    with pytest.raises(TrainingError, match="not generator; make a list"):
        attempt(data=(i for i in range(3)))


@pytest.mark.parametrize("wrong", [5, -1, 99])
def test_an_index_outside_the_vocabulary(wrong):
    told = rf"index {wrong} is outside the vocabulary of item \(0 … 4\); build the table with as many rows"
    with pytest.raises(TrainingError, match=told):
        attempt(data=torch.tensor([0, wrong, 1]))
    model = Table()
    with pytest.raises(TrainingError):
        attempt(data=torch.tensor([wrong]), model=model)
    assert not model.item._forward_pre_hooks, "the watch ends with the run"


def test_an_index_outside_a_parameter():
    with pytest.raises(TrainingError, match="no row for.*index 7 is out of bounds.*leave the unknown ones out"):
        attempt(data=torch.tensor([7]), loss=lambda m, b: m.bias[b].mean())


def test_another_error_of_the_loss_passes_unchanged():
    with pytest.raises(IndexError, match="list index"):
        attempt(loss=lambda m, b: [][3])
    with pytest.raises(RuntimeError, match="mat1 and mat2|size mismatch") as caught:
        attempt(loss=lambda m, b: m.item.weight @ m.item.weight)
    assert not isinstance(caught.value, TrainingError)


def too_much(model, batch):
    return model(batch).mean() + torch.empty(2**55)[0]


def on_a_gpu(model, batch):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def of_python(model, batch):
    raise MemoryError


@pytest.mark.parametrize("loss", [too_much, on_a_gpu, of_python])
def test_no_memory_left_names_the_smaller_batch(loss):
    with pytest.raises(TrainingError, match=r"memory ran out with batch_size=12; try batch_size=6, accumulate=4"):
        attempt(data=torch.arange(5).repeat(10), loss=loss, batch_size=12, accumulate=2)
    with pytest.raises(TrainingError, match="batch_size is 1 already: shorten the texts"):
        attempt(loss=loss, batch_size=1)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 1), (5, 1), (3, 4)])
def test_the_smaller_batch_makes_steps_no_smaller(batch_size, accumulate):
    half, more = map(int, re.findall(r"=(\d+)", smaller(batch_size, accumulate)))
    assert half < batch_size and half * more >= batch_size * accumulate > half * (more - 1)


def test_no_memory_left_in_validation():
    with pytest.raises(TrainingError, match="memory ran out"):
        attempt(validate=lambda m: too_much(m, torch.arange(2)))


def test_a_stop_of_the_gpu_is_explained():
    def loss(model, batch):
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")

    with pytest.raises(TrainingError, match="index outside a table.*COURSE_PROFILE=cpu"):
        attempt(loss=loss)


@pytest.mark.parametrize(
    "loss", [lambda m, b: 3.0, lambda m, b: m.item(b), lambda m, b: dot(m, b).detach()], ids=["float", "rows", "detached"]
)
def test_a_loss_that_cannot_be_followed(loss):
    with pytest.raises(TrainingError, match="must give one number as a tensor that depends on the parameters"):
        attempt(loss=loss)


@pytest.mark.parametrize("parameters", [None, "groups"])
def test_nothing_to_learn(parameters):
    model = Table().requires_grad_(False)
    with pytest.raises(TrainingError, match="unfreeze some or add an adapter"):
        attempt(model=model, parameters=parameters and [{"params": list(model.parameters())}])


def test_patience_without_validation():
    with pytest.raises(TrainingError, match="patience needs validate="):
        attempt(patience=1)


def test_a_validation_that_is_no_number():
    with pytest.raises(TrainingError, match="validate gave NaN after epoch 1"):
        attempt(validate=lambda m: float("nan"))
