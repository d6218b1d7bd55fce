"""Stages one after the other: what is learned, what is forgotten, and the two stages before the article's task."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from small_encoder import SmallEncoder
from torch import nn

from course_lib.curriculum import PacedSampler, Stage, TextStudent, contrastive_loss, course, linear, neighbour_auc
from course_lib.training import Training

TEXTS = ["blue moon", "red sky drama", "alone", "stand moon comedy", "blue sky", "red moon action", "sky drama", "other"]
FACTS = np.random.default_rng(0).normal(size=(8, 3)) * (np.arange(8) != 6)[:, None]


def config(**options):
    return Training(
        **{"epochs": 2, "batch_size": 4, "learning_rate": 0.05, "bf16": False, "progress": False, "warmup": 0.0} | options
    )


def toward(value):
    return lambda model, batch: (model.weight - value).square().sum() + 0 * batch.sum()


def test_a_course_by_hand():
    """A number is drawn to 1, then to −1; the probes see it arrive and leave."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    modes = []
    stages = [
        Stage(name, torch.ones(10, 1), toward(value), config(epochs=20, batch_size=5))
        for name, value in (("up", 1.0), ("down", -1.0))
    ]
    probes = {
        "height": lambda m: modes.append((m.training, torch.is_grad_enabled())) or m.weight,
        "miss": lambda m: (m.weight - 1).abs(),
    }
    table = course(model, stages, probes=probes, lower=("miss",))
    assert table["name"].tolist() == ["before", "up", "down"] and table["stage"].tolist() == [0, 1, 2]
    assert table["steps"].tolist() == [0, 40, 40] and table["rows"].tolist() == [0, 200, 200]
    up, down = table["height"].iloc[1:]
    assert up > 0.8 and down < 0 and table["height"][0] == 0 and model.weight.item() == pytest.approx(down)
    np.testing.assert_allclose(table["height_forgotten"], [0, 0, up - down], atol=1e-6)
    np.testing.assert_allclose(table["miss_forgotten"], [0, 0, (1 - down) - (1 - up)], atol=1e-6)
    assert modes == [(False, False)] * 3 and math.isnan(table["loss"][0]) and table["loss"][1] < 1


def test_a_stage_hands_its_options_on():
    model, met = nn.Linear(1, 1), []
    stage = Stage(
        "one",
        (torch.arange(4.0)[:, None], torch.zeros(4)),
        lambda m, b: met.append(b[0][:, 0].tolist()) or m(b[0]).sum(),
        config(epochs=1, batch_size=2),
        parameters=lambda m: [m.bias],
        options={"sampler": lambda *_: np.array([3, 3, 0, 0])},
    )
    before = model.weight.clone()
    table = course(model, [stage])
    assert met == [[3, 3], [0, 0]] and torch.equal(model.weight, before) and table["rows"][1] == 4
    paced = Stage(
        "paced", torch.zeros(4, 1), lambda m, b: m(b).sum(), config(), options={"sampler": PacedSampler(np.arange(4), linear())}
    )
    assert course(model, [paced])["steps"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("names", "lower", "told"),
    [
        ([], (), "stages with names"),
        (["a", "a"], (), "stages with names"),
        (["before"], (), "stages with names"),
        (["a"], ("x",), "lower names x"),
    ],
)
def test_course_refuses(names, lower, told):
    stages = [Stage(name, torch.ones(2, 1), toward(0.0), config()) for name in names]
    with pytest.raises(ValueError, match=told):
        course(nn.Linear(1, 1, bias=False), stages, lower=lower)


def test_contrastive_loss_by_hand():
    """Two queries, two keys at right angles: each finds its own with e^(1/τ) / (e^(1/τ) + 1)."""
    keys = torch.eye(2)
    assert contrastive_loss(3 * keys, keys, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert contrastive_loss(keys.flip(0), keys, 0.5).item() == pytest.approx(math.log(1 + math.exp(2)))
    q, k = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[1.0, 0], [0, 1]])
    one_way = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert contrastive_loss(q, k, 1.0).item() == pytest.approx((one_way + math.log(2)) / 2), "both ways count half"


def test_neighbour_auc_by_hand():
    """Four things on a line of facts in two pairs; vectors that agree, that disagree, and that are all alike."""
    facts = np.array([[1, 0.0], [1, 0.1], [0, 1], [0.1, 1]])
    assert neighbour_auc(facts, facts, neighbours=1) == 1
    assert neighbour_auc(facts[[0, 2, 1, 3]], facts, neighbours=1) < 0.5
    assert neighbour_auc(np.ones((4, 3)), facts, neighbours=1) == 0.5
    rng = np.random.default_rng(0)
    assert neighbour_auc(rng.normal(size=(200, 8)), rng.normal(size=(200, 8))) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="more than 6"):
        neighbour_auc(facts, facts)


def test_neighbour_auc_equals_counting():
    rng = np.random.default_rng(1)
    vectors, facts = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    cosine = lambda a: (a @ a.T) / np.outer(*[np.linalg.norm(a, axis=1)] * 2)  # noqa: E731
    near, like, shares = cosine(vectors), cosine(facts), []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        top = sorted(others, key=lambda j: -like[i, j])[:2]
        shares.append(np.mean([near[i, a] > near[i, b] for a in top for b in others if b not in top]))
    assert neighbour_auc(vectors, facts, neighbours=2) == pytest.approx(np.mean(shares))


def test_student_reads_like_the_encoder_and_its_graph_head_is_ridge():
    encoder = SmallEncoder()
    student = TextStudent(TEXTS, encoder=encoder, facts=FACTS, reg=2.0)
    rows = encoder.encode(TEXTS)
    np.testing.assert_allclose(student.eval().vectors(range(8)), rows - rows.mean(axis=0), atol=1e-5)
    assert student.known.tolist() == [0, 1, 2, 3, 4, 5, 7]
    x, y = (rows - rows.mean(axis=0))[student.known], FACTS[student.known]
    expected = Ridge(alpha=2.0, fit_intercept=False).fit(x, y / np.linalg.norm(y, axis=1, keepdims=True)).coef_
    np.testing.assert_allclose(student.project.weight.detach(), expected, atol=1e-4)
    assert {id(p) for p in encoder.model.parameters()} <= {id(p) for p in student.parameters()}, "trained in place"


def test_both_stages_learn_in_the_encoder_and_leave_the_other_head_alone():
    encoder = SmallEncoder()
    student = TextStudent(TEXTS, encoder=encoder, facts=FACTS)
    start, heads = encoder.digest(), [p.detach().clone() for p in (student.language.dense.weight, student.project.weight)]
    items = np.arange(8)
    probes = {"words": lambda m: m.language_probe(items), "graph": lambda m: m.graph_loss(m.known)}
    training = config(epochs=40, learning_rate=2e-3)
    first = course(student, [student.language_stage(training)], probes=probes, lower=("words", "graph"))
    assert first["words"][1] < 0.8 * first["words"][0] and encoder.digest() != start
    assert torch.equal(student.project.weight, heads[1]) and not torch.equal(student.language.dense.weight, heads[0])
    dense = student.language.dense.weight.detach().clone()
    second = course(student, [student.graph_stage(training, name="facts")], probes=probes, lower=("words", "graph"))
    assert second["graph"][1] < 0.8 * second["graph"][0] and second["name"][1] == "facts"
    assert torch.equal(student.language.dense.weight, dense)
    assert second["words_forgotten"][1] == pytest.approx(max(0, second["words"][1] - second["words"][0]))


def test_stages_take_the_items_that_they_are_given():
    student = TextStudent(TEXTS, encoder=SmallEncoder(), facts=FACTS)
    assert student.language_stage(config()).data.tolist() == list(range(8))
    assert student.language_stage(config(), items=[3, 3, 1]).data.tolist() == [3, 3, 1]
    assert student.graph_stage(config()).data.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert student.graph_stage(config(), items=[6, 7, 7, 0]).data.tolist() == [7, 7, 0], "the graph does not know item 6"


def test_the_probe_hides_the_same_words_at_every_call():
    student = TextStudent(TEXTS, encoder=SmallEncoder()).eval()
    assert student.language_probe(range(8)) == student.language_probe(range(8)) != student.language_probe(range(8), seed=5)


def test_the_pooler_rests():
    encoder = SmallEncoder()
    student = TextStudent(TEXTS, encoder=encoder)
    stage = student.language_stage(config())
    learning = {id(p) for group in stage.parameters for p in group["params"]}
    assert not learning & {id(p) for p in encoder.model.pooler.parameters()}
    assert id(encoder.model.embeddings.word_embeddings.weight) in learning
    assert len(learning) == sum(len(group["params"]) for group in stage.parameters)


@pytest.mark.parametrize(
    ("facts", "told"),
    [(np.ones((3, 2)), "one row for each of the 8"), (np.zeros((8, 2)), "zero everywhere"), (np.ones(8), "one row for each")],
)
def test_student_refuses(facts, told):
    with pytest.raises(ValueError, match=told):
        TextStudent(TEXTS, encoder=SmallEncoder(), facts=facts)
    student = TextStudent(TEXTS, encoder=SmallEncoder())
    for call in (lambda: student.graph_loss(torch.tensor([0])), lambda: student.graph_stage(config())):
        with pytest.raises(ValueError, match="this student has no facts"):
            call()
