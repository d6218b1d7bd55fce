"""Adversarial training: the model also learns from the word embeddings that would hurt it most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from course_lib.training.errors import TrainingError


def word_embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Weights of the embeddings whose name holds "word", or of all where none does.  Each (vocabulary, hidden)."""
    tables = {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    words = [weight for name, weight in tables.items() if "word" in name]
    return words or list(tables.values())


class FGM:
    """Fast gradient method: one step up the gradient, r = ε g / ‖g‖, on each embedding matrix.

    `attack` perturbs, `restore` undoes it to the bit. Frozen embeddings are perturbed too; they need a gradient for that,
    so `fit` lets them have one (`open`, `close`) and never steps them.
    Raises TrainingError where the model has no nn.Embedding.
    Source: Miyato, Dai and Goodfellow (2017), Adversarial training methods for semi-supervised text classification.
    """

    turns = 1

    def __init__(self, model: nn.Module, *, epsilon: float = 1.0):
        self.weights, self.epsilon = word_embeddings(model), epsilon
        if not self.weights:
            raise TrainingError(f"{type(model).__name__} has no nn.Embedding to perturb; train it with adversarial=None")
        self.clean: list[torch.Tensor] = []
        self.frozen = [weight for weight in self.weights if not weight.requires_grad]

    def open(self) -> None:
        """Let frozen embeddings collect a gradient."""
        for weight in self.frozen:
            weight.requires_grad_(True)

    def close(self) -> None:
        """Freeze again what was frozen."""
        for weight in self.frozen:
            weight.requires_grad_(False)
            weight.grad = None

    @torch.no_grad()
    def attack(self) -> None:
        """Move each embedding matrix along its gradient. The first call since `restore` remembers where it stood."""
        self.clean = self.clean or [weight.detach().clone() for weight in self.weights]
        for weight, clean in zip(self.weights, self.clean, strict=True):
            norm = 0.0 if weight.grad is None else weight.grad.norm()
            if norm > 0:
                weight.copy_(self.move(weight, clean, weight.grad / norm))

    def move(self, weight: torch.Tensor, clean: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Where the attack goes.  weight, clean, direction (norm 1): (vocabulary, hidden) → the same."""
        return clean + self.epsilon * direction

    @torch.no_grad()
    def restore(self) -> None:
        """Put back the weights from before the attack."""
        for weight, clean in zip(self.weights, self.clean, strict=bool(self.clean)):
            weight.copy_(clean)
        self.clean = []

    def learn(self, backward: Callable[[], float], parameters: list[torch.Tensor]) -> None:
        """Add the gradient at the worst point found to the gradient that the parameters hold.

        backward: computes the loss at the present weights and adds its gradient.
        """
        every = list({id(p): p for p in (*parameters, *self.weights)}.values())
        held = [None if p.grad is None else p.grad.clone() for p in every]
        try:
            for turn in range(self.turns):
                self.attack()
                for p, grad in zip(every, held, strict=True):
                    p.grad = grad if turn == self.turns - 1 else None
                backward()
        finally:
            self.restore()
            for weight in self.frozen:
                weight.grad = None


class PGD(FGM):
    """Projected gradient descent: `turns` steps of norm `size` up the gradient, each drawn back into the ball of radius ε.

    δ ← Π(δ + size · g / ‖g‖), Π(δ) = δ · min(1, ε / ‖δ‖)

    Source: Madry et al. (2018), Towards deep learning models resistant to adversarial attacks.
    """

    def __init__(self, model: nn.Module, *, epsilon: float = 1.0, turns: int = 3, size: float | None = None):
        super().__init__(model, epsilon=epsilon)
        self.turns, self.size = turns, 1.5 * epsilon / turns if size is None else size

    def move(self, weight, clean, direction):
        """One step and the way back into the ball."""
        delta = weight - clean + self.size * direction
        return clean + delta * (self.epsilon / delta.norm()).clamp(max=1.0)


def adversary(model: nn.Module, config) -> FGM | None:
    """The adversary that a Training asks for."""
    if config.adversarial is None:
        return None
    if config.adversarial == "fgm":
        return FGM(model, epsilon=config.epsilon)
    return PGD(model, epsilon=config.epsilon, turns=config.attacks, size=config.attack_size)
