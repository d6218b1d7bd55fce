"""Which of the tricks of fine-tuning matters here?  Each variant changes one thing of the base."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from course_lib.experiments import cold_items, fine_tuning
from course_lib.experiments.runner import Cell, Experiment
from course_lib.text import TextEncoder, tokenize


def craft(cell: Cell, *, change=None, tune: str = "full", **options) -> dict:
    """The fully tuned two-tower model with the softmax loss; `change` alters the encoder first, `options` the training."""
    encoder = TextEncoder()
    if change is not None:
        change(encoder)
    model = fine_tuning.tower(cell, tune=tune, loss="softmax", encoder=encoder, **options)
    found = cold_items.ranking(model.score(range(model.n_users)), cold_items.split(cell.draw))
    found |= {"train_loss": float(model.losses_[-1]), "epochs": len(model.losses_) - model.head_epochs}
    return found | {"step_seconds": model.step_seconds_, "trainable": model.trainable[0]}


def without_dropout(encoder: TextEncoder) -> None:
    """Every dropout layer lets everything through."""
    for part in encoder.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0


def every_other_layer(encoder: TextEncoder) -> None:
    """Three of six layers go: the second, the fourth and the sixth."""
    encoder.model.encoder.layer = encoder.model.encoder.layer[::2]
    encoder.model.config.num_hidden_layers = len(encoder.model.encoder.layer)


def pruned_vocabulary(encoder: TextEncoder) -> None:
    """The table of word pieces keeps only the rows that occur in the catalogue."""
    used = tokenize(cold_items.texts(), tokenizer=encoder.tokenizer)["input_ids"].unique()
    encoder.model.embeddings.word_embeddings = PrunedEmbedding(encoder.model.get_input_embeddings(), used)


class PrunedEmbedding(nn.Module):
    """An embedding that holds the rows `used` of another; it is called with the ids of the other.

    ids int64 of any shape → (…, hidden). Raises IndexError for an id that was pruned.
    """

    def __init__(self, embedding: nn.Embedding, used: torch.Tensor):
        super().__init__()
        row = torch.full((embedding.num_embeddings,), len(used))
        row[used] = torch.arange(len(used))
        self.register_buffer("row", row)
        self.kept = nn.Embedding.from_pretrained(embedding.weight.detach()[used].clone(), freeze=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of the ids."""
        return self.kept(self.row[ids])


EXPERIMENT = Experiment(
    name="training_craft",
    question="Which trick of fine-tuning matters: the schedule, dropout, weight decay, adversarial steps, a smaller encoder?",
    metrics=("auc", "ndcg", "train_loss", "epochs", "step_seconds"),
    variants={
        "frozen": partial(craft, tune="none"),
        "base": craft,
        "constant_rate": partial(craft, schedule="constant", warmup=0.0),
        "no_dropout": partial(craft, change=without_dropout),
        "no_weight_decay": partial(craft, weight_decay=0.0),
        "three_layers_dropped": partial(craft, change=every_other_layer),
        "vocabulary_pruned": partial(craft, change=pruned_vocabulary),
        "early_stopping": partial(craft, epochs=4, patience=1),
        "fgm": partial(craft, adversarial="fgm"),
        "pgd": partial(craft, adversarial="pgd", attacks=2),
    },
)
