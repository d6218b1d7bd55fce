import pytest
import torch
from torch import nn

from course_lib.training import FGM, PGD, Training, TrainingError, fit, word_embeddings


class Words(nn.Module):
    """Two embeddings, of which one is of words."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.word, self.place, self.out = nn.Embedding(6, 4), nn.Embedding(3, 4), nn.Linear(4, 1)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=draw)

    def forward(self, index):
        return self.out(torch.tanh(self.word(index) + self.place.weight[: index.shape[1]])).mean(1)[:, 0]


INDEX = torch.tensor([[0, 1, 2], [3, 1, 0], [2, 2, 4]])
Y = torch.tensor([1.0, -1.0, 0.5])


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


def gradient_of(model):
    model.zero_grad()
    loss(model, (INDEX, Y)).backward()
    return model.word.weight.grad.clone()


def test_words_are_preferred_and_else_every_embedding_counts():
    model = Words()
    assert [id(w) for w in word_embeddings(model)] == [id(model.word.weight)]
    two = nn.ModuleDict({"user": nn.Embedding(2, 2), "item": nn.Embedding(3, 2)})
    assert [w.shape[0] for w in word_embeddings(two)] == [2, 3]


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 7.0])
def test_fgm_moves_by_epsilon_along_the_gradient_and_back_to_the_bit(epsilon):
    model = Words()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradient, attack = gradient_of(model), FGM(model, epsilon=epsilon)
    attack.attack()
    delta = model.word.weight.detach() - before["word.weight"]
    assert delta.norm().item() == pytest.approx(epsilon, rel=1e-5)
    torch.testing.assert_close(delta, epsilon * gradient / gradient.norm(), rtol=1e-4, atol=1e-6)
    assert not delta[5].any(), "a word that the batch does not hold stays where it is"
    attack.restore()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_fgm_adds_the_gradient_at_the_perturbed_point():
    model = Words()
    clean, start = gradient_of(model), model.word.weight.detach().clone()
    model.word.weight.data = start + 0.5 * clean / clean.norm()
    there = gradient_of(model)
    model.word.weight.data = start
    gradient_of(model)
    FGM(model, epsilon=0.5).learn(lambda: loss(model, (INDEX, Y)).backward(), list(model.parameters()))
    torch.testing.assert_close(model.word.weight.grad, clean + there)
    assert torch.equal(model.word.weight, start)


def test_pgd_walks_up_and_stays_in_the_ball():
    model = Words()
    start, distances, losses = model.word.weight.detach().clone(), [], []

    def backward():
        value = loss(model, (INDEX, Y))
        value.backward()
        distances.append((model.word.weight.detach() - start).norm().item())
        losses.append(value.item())

    clean = gradient_of(model)
    PGD(model, epsilon=0.5, turns=4, size=0.2).learn(backward, list(model.parameters()))
    assert distances[0] == pytest.approx(0.2, rel=1e-4)
    assert max(distances) <= 0.5 * (1 + 1e-5) and distances[-1] == pytest.approx(0.5, rel=1e-3)
    assert sorted(losses) == losses and losses[0] > loss(model, (INDEX, Y)).item()
    assert torch.equal(model.word.weight, start)
    gradient, last = model.word.weight.grad.clone(), gradient_of(model)
    assert torch.equal(last, clean) and not torch.allclose(gradient, clean)


def test_the_last_turn_of_pgd_alone_joins_the_clean_gradient():
    model, seen = Words(), []

    def backward():
        before = None if model.out.weight.grad is None else model.out.weight.grad.clone()
        loss(model, (INDEX, Y)).backward()
        seen.append((before, model.out.weight.grad.clone()))

    gradient_of(model)
    clean = model.out.weight.grad.clone()
    PGD(model, epsilon=0.5, turns=3).learn(backward, list(model.parameters()))
    assert [before is None for before, _ in seen] == [True, True, False]
    assert torch.equal(seen[-1][0], clean) and torch.equal(seen[-1][1], model.out.weight.grad)


@pytest.mark.parametrize("attack", [FGM, PGD])
def test_an_error_during_the_attack_leaves_the_weights_whole(attack):
    model = Words()
    start = model.word.weight.detach().clone()
    gradient_of(model)

    def fail():
        raise KeyError("lost")

    with pytest.raises(KeyError):
        attack(model).learn(fail, list(model.parameters()))
    assert torch.equal(model.word.weight, start)


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_frozen_embeddings_are_perturbed_but_never_learn(kind):
    model, plain = Words(), Words()
    for m in (model, plain):
        m.word.requires_grad_(False)
        m.place.requires_grad_(False)
    start = model.word.weight.detach().clone()
    options = {"epochs": 3, "learning_rate": 0.1, "progress": False, "schedule": "constant", "warmup": 0.0}
    fit(model, (INDEX, Y), loss=loss, config=Training(adversarial=kind, epsilon=2.0, **options))
    fit(plain, (INDEX, Y), loss=loss, config=Training(**options))
    assert torch.equal(model.word.weight, start) and model.word.weight.grad is None
    assert not model.word.weight.requires_grad
    assert not torch.equal(model.out.weight, plain.out.weight), "the attack changes what is learned"


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_accumulated_attacks_equal_those_of_the_big_batch(kind):
    whole, parts = Words(), Words()
    options = {"epochs": 2, "learning_rate": 0.05, "adversarial": kind, "epsilon": 0.5, "progress": False, "bf16": False}
    fit(whole, (INDEX, Y), loss=loss, config=Training(batch_size=3, **options))
    fit(parts, (INDEX, Y), loss=loss, config=Training(batch_size=1, accumulate=3, **options))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_model_without_embeddings_is_refused():
    with pytest.raises(TrainingError, match="adversarial=None"):
        fit(nn.Linear(1, 1), torch.ones(2, 1), loss=lambda m, b: m(b).mean(), config=Training(adversarial="fgm"))
