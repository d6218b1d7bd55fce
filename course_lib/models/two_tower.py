"""Two towers: a vector for each user, and for each item the vector that a language model reads from its text."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_lib.config import settings
from course_lib.models.base import ModelError, Recommender, predict
from course_lib.models.matrix_factorization import falling_adam, mse_loss
from course_lib.models.text_reader import TUNES, Reader, flat, orthogonality, ranks_allocated, text_encoder
from course_lib.training import Training, fit

HIDDEN_BIAS = 0.5  # share of the items of a step whose bias is hidden, so that the text learns to stand for a new item
HELD_OUT = 0.1  # share of the train items that early stopping watches
SPREAD = 0.05  # standard deviation of the users' first vectors


class Towers(nn.Module):
    """score_ui = ⟨x_u, W·e_i⟩ + b_u + b_i, e_i the reader's vector of item i.

    x_u = x + δ_u: the shared x tells which texts people like, δ_u what this user likes more than others do.
    """

    def __init__(self, reader: Reader, *, n_users: int, n_items: int, embedding_size: int, generator: torch.Generator):
        super().__init__()
        self.reader = reader
        hidden = reader.vectors.shape[1]
        self.project = nn.Linear(hidden, embedding_size, bias=False)
        nn.init.normal_(self.project.weight, std=1 / math.sqrt(hidden), generator=generator)
        self.shared = nn.Parameter(torch.randn(embedding_size, generator=generator) * SPREAD)
        self.users = nn.Parameter(torch.randn(n_users, embedding_size, generator=generator) * SPREAD)
        self.user_bias, self.item_bias = nn.Parameter(torch.zeros(n_users)), nn.Parameter(torch.zeros(n_items))

    @property
    def head(self) -> list[nn.Parameter]:
        """Everything that learns but the encoder."""
        return [self.project.weight, self.shared, self.users, self.user_bias, self.item_bias]

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """W·e_i: item indices (n,) → (n, embedding_size)."""
        return self.project(self.reader(items))


class Rows:
    """The train rows of each item, so that a step reads each of its items once however many rows they have."""

    def __init__(self, table, n_items: int, device: str):
        table = table.sort_values("item", kind="stable")
        self.starts = np.searchsorted(table["item"].to_numpy(), np.arange(n_items + 1))
        self.user = torch.tensor(table["user"].to_numpy(), device=device)
        self.rating = torch.tensor(table["rating"].to_numpy(), dtype=torch.float32, device=device)
        self.items = torch.tensor(np.flatnonzero(np.diff(self.starts)))

    def hold_out(self, share: float, generator: torch.Generator) -> torch.Tensor:
        """Take a share of the items away (at least one, and never all) and return them."""
        count = max(1, round(share * len(self.items)))
        if count >= len(self.items):
            raise ValueError(f"patience needs items to hold out, and there are only {len(self.items)} with ratings")
        order = torch.randperm(len(self.items), generator=generator)
        held, self.items = self.items[order[:count]], self.items[order[count:]]
        return held

    def of(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Distinct items (n,) → user, place of the item among the n, rating, each (rows,)."""
        spans = [np.arange(self.starts[i], self.starts[i + 1]) for i in items.tolist()]
        rows = torch.from_numpy(np.concatenate(spans)).to(self.user.device)
        place = torch.from_numpy(np.repeat(np.arange(len(spans)), [len(s) for s in spans])).to(self.user.device)
        return self.user[rows], place, self.rating[rows]


class TwoTower(Recommender):
    """ŷ_ui = ⟨x_u, W·BERT(text_i)⟩ + b_u + b_i: it scores an item that nobody has rated, by its text.

    texts: one per item of the catalogue; encoder: source of the encoder, or a TextEncoder (None: the course's own).
    loss: "mse" on the stars (μ is part of b_u); "softmax": which of the step's items did a user like (stars ≥ `liked`)?
    −log softmax of the liked item among the items of the step that the user has not liked: an order, not stars. Its steps
    take the items that somebody liked; one that nobody liked is scored as a new one is.
    features: (n_items, f) of something else that is known of the items, say of a graph: W reads it beside the text (see
    `Reader`; few columns are better than thousands).
    tune: what of the encoder learns (see `Reader`), `size` being rank, bottleneck or number of tokens.
    First W, x and b learn for `head_epochs` from frozen vectors, then all of it as `training` says; its learning rate is the
    encoder's, `head_learning_rate` that of the rest. A step takes `training.batch_size` items with all of their rows, so each
    distinct item is encoded once. Each row also costs reg (‖x_u‖² + ‖W·e_i‖²) with "mse", and reg ‖δ_u‖² with "softmax", δ_u
    being what sets x_u apart from the users' shared vector. The bias of an item without rows is 0; that of half of the items
    of a step is hidden (Volkovs, Yu and Poutanen, 2017, DropoutNet). `losses_` (head_epochs + epochs,): each epoch's mean
    loss, with its cost in the last `epochs`; `step_seconds_`: CPU seconds of a step of the latter.
    With training.patience a tenth of the train items is held out, and training stops by their loss.
    Raises ValueError for options out of range or nothing to learn from, TrainingError where a loss is no number.
    Source: Covington, Adams and Sargin (2016), Deep neural networks for YouTube recommendations, section 3.
    """

    fitted = ("user_factors_", "item_factors_", "user_bias_", "item_bias_", "projection_", "tuned_", "losses_")

    def __init__(
        self,
        texts: list[str] | None,
        *,
        encoder=None,
        embedding_size: int = 64,
        loss: str = "mse",
        tune: str = "none",
        size: int | None = None,
        training: Training | None = None,
        head_epochs: int | None = None,
        head_learning_rate: float = 0.01,
        reg: float | None = None,
        liked: float = 4.0,
        features: np.ndarray | None = None,
        seed: int = 0,
    ):
        if loss not in ("mse", "softmax"):
            raise ValueError(f'loss is "mse" (predict stars) or "softmax" (rank), not {loss!r}')
        if tune not in TUNES:
            raise ValueError(f"tune is one of {', '.join(TUNES)}, not {tune!r}")
        head_epochs = {"mse": 12, "softmax": 3}[loss] if head_epochs is None else head_epochs
        reg = {"mse": 0.1, "softmax": 1.0}[loss] if reg is None else reg
        if embedding_size < 1 or head_epochs < 0 or not head_learning_rate > 0 or reg < 0:
            raise ValueError(
                "embedding_size starts at 1, head_epochs at 0, head_learning_rate is positive, reg is not negative: "
                f"{embedding_size, head_epochs, head_learning_rate, reg}"
            )
        self.texts = None if texts is None else list(texts)
        self.encoder, self.embedding_size, self.loss, self.tune, self.size = encoder, embedding_size, loss, tune, size
        self.training = Training(epochs=3, batch_size=64, seed=seed) if training is None else training
        self.head_epochs, self.head_learning_rate = head_epochs, head_learning_rate
        self.reg, self.liked, self.seed = reg, liked, seed
        self.features = None if features is None else np.asarray(features, dtype=np.float32)
        if features is not None and not (self.features.ndim == 2 and np.isfinite(self.features).all()):
            raise ValueError(f"features are finite numbers, one row for each item; got shape {self.features.shape}")

    def _fit(self, split) -> None:
        if self.texts is None:
            raise ModelError("a loaded TwoTower holds no texts: build a new one with TwoTower(texts) to fit again")
        if len(self.texts) != split.n_items:
            raise ValueError(
                f"there are {len(self.texts)} texts for {split.n_items} items: give one for each, item_texts(items)"
            )
        if self.features is not None and len(self.features) != split.n_items:
            raise ValueError(f"the features have {len(self.features)} rows, the split {split.n_items} items: give one for each")
        device = settings().device
        generator = torch.Generator().manual_seed(self.seed)
        options = {"tune": self.tune, "size": self.size, "seed": self.seed, "features": self.features}
        reader = Reader(self.texts, encoder=text_encoder(self.encoder), **options)
        shape = {"n_users": split.n_users, "n_items": split.n_items, "embedding_size": self.embedding_size}
        self.towers_ = Towers(reader, **shape, generator=generator).to(device)
        if self.loss == "mse":
            with torch.no_grad():
                self.towers_.user_bias += float(split.train["rating"].mean())
        table = split.train if self.loss == "mse" else split.train[split.train["rating"] >= self.liked]
        if table.empty:
            raise ValueError(f"no train row has {self.liked:g} stars or more: lower `liked`, or use loss='mse'")
        if self.loss == "softmax" and len(table) == table["user"].nunique() * table["item"].nunique():
            raise ValueError(
                f"every user with {self.liked:g} stars or more gave them to every item that got any: there is nothing to tell "
                "apart: the softmax compares with items that somebody else liked; raise `liked`, or use loss='mse'"
            )
        rows = Rows(table, split.n_items, device)
        held = rows.hold_out(HELD_OUT, generator) if self.training.patience is not None else None
        start = self._fit_head(rows, generator)
        began = time.process_time()
        history = self._fit_all(rows, held)
        self.step_seconds_ = (time.process_time() - began) / len(history.steps)
        self.losses_ = np.concatenate([start, history.table["loss"].to_numpy()])
        self._keep()

    def _fit_head(self, rows: Rows, generator: torch.Generator) -> np.ndarray:
        """Only the head learns, from the vectors of the pretrained encoder → mean loss of each epoch."""
        towers, size = self.towers_, self.training.batch_size
        losses = np.zeros(self.head_epochs)
        steps = self.head_epochs * math.ceil(len(rows.items) / size)
        step = falling_adam(towers.head, self.head_learning_rate, max(steps, 1))
        for epoch in range(self.head_epochs):
            batches = rows.items[torch.randperm(len(rows.items), generator=generator)].split(size)
            for items in batches:
                vectors = towers.project(towers.reader.vectors[items.to(towers.shared.device)])
                loss, penalty = self.batch_loss(rows, items, vectors, generator)
                step(loss + penalty)
                losses[epoch] += loss.item() / len(batches)
        return losses

    def _fit_all(self, rows: Rows, held: torch.Tensor | None):
        """Head and encoder learn together → History; with `held` items, it stops by their loss."""
        towers, generator = self.towers_, torch.Generator().manual_seed(self.seed + 1)

        def loss(model, items):
            value, penalty = self.batch_loss(rows, items, model(items.to(model.shared.device)), generator)
            return value + penalty + orthogonality(model.reader)

        def validate(model):
            return self.batch_loss(rows, held, model(held.to(model.shared.device)), None)[0]

        watched = None if held is None else validate
        options = {"loss": loss, "validate": watched, "config": self.training, "parameters": self._groups(towers)}
        steps = self.training.epochs * math.ceil(len(rows.items) / (self.training.batch_size * self.training.accumulate))
        with ranks_allocated(towers.reader, steps=steps):
            return fit(towers, rows.items, **options)

    def batch_loss(self, rows: Rows, items, vectors, generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and penalty of the train rows of distinct items.  items (n,), vectors (n, embedding_size).

        generator: draws the items whose bias is hidden; None: every item's is, as if all were new.
        """
        towers = self.towers_
        user, place, rating = rows.of(items)
        seen = torch.zeros(len(items)) if generator is None else torch.rand(len(items), generator=generator) >= HIDDEN_BIAS
        bias = towers.item_bias[items.to(vectors.device)] * seen.to(vectors.device)
        x = towers.shared + towers.users[user]
        if self.loss == "mse":
            penalty = self.reg * (x.square().sum(dim=-1).mean() + vectors.square().sum(dim=-1).mean())
            return mse_loss(rating, predict(x, vectors[place], towers.user_bias[user] + bias[place])), penalty
        penalty = self.reg * towers.users[user].square().sum(dim=-1).mean()
        return softmax_loss(x @ vectors.T + bias, user, place), penalty

    def _groups(self, towers: Towers) -> list[dict]:
        groups = [{"params": towers.head, "lr": self.head_learning_rate, "weight_decay": 0.0}]
        learned = towers.reader.learned
        decayed = [p for p in learned.values() if p.ndim > 1]
        plain = [p for p in learned.values() if p.ndim <= 1]
        for parameters, decay in ((decayed, self.training.weight_decay), (plain, 0.0)):
            if parameters:
                groups.append({"params": parameters, "lr": self.training.learning_rate, "weight_decay": decay})
        return groups

    @torch.no_grad()
    def _keep(self) -> None:
        """What scoring needs, as arrays; the biases of items without rows are 0."""
        towers = self.towers_.eval()
        self.user_factors_ = (towers.shared + towers.users).cpu().numpy()
        self.item_factors_ = towers.project(towers.reader.catalogue()).cpu().numpy()
        self.user_bias_, self.item_bias_ = towers.user_bias.detach().cpu().numpy(), towers.item_bias.detach().cpu().numpy()
        self.projection_, self.tuned_ = towers.project.weight.detach().cpu().numpy(), flat(towers.reader)

    @property
    def trainable(self) -> tuple[int, int]:
        """Parameters of the encoder that learned, and of the head."""
        if not hasattr(self, "tuned_"):
            raise ModelError("this TwoTower is not fitted: call fit(split) first")
        head = (self.user_factors_, self.projection_, self.user_bias_, self.item_bias_)
        return self.tuned_.size, sum(a.size for a in head) + self.embedding_size

    def _scores(self, users):
        return self.user_factors_[users] @ self.item_factors_.T + self.user_bias_[users][:, None] + self.item_bias_

    def _pairs(self, users, items):
        dot = np.einsum("nd,nd->n", self.user_factors_[users], self.item_factors_[items])
        return dot + self.user_bias_[users] + self.item_bias_[items]

    def _item_vectors(self):
        return self.item_factors_

    def _options(self) -> dict:
        source = getattr(self.encoder, "folder", self.encoder)
        plain = {"training": asdict(self.training), "encoder": None if source is None else str(source)}
        return super()._options() | plain

    @classmethod
    def _from_options(cls, options):
        return cls(None, **options | {"training": Training(**options["training"])})


def softmax_loss(scores, user, place):
    """−log (exp s_up / Σ_j exp s_uj), averaged over rows; j runs over p and the items that the user of the row did not choose.

    scores (rows, n): of the row's user for each item of the step; user (rows,); place (rows,): the chosen item → scalar, nats.
    """
    order, row_of = torch.unique(user, return_inverse=True)
    chosen = torch.zeros(len(order), scores.shape[1], dtype=torch.bool, device=scores.device)
    chosen[row_of, place] = True
    others = chosen[row_of]
    others[torch.arange(len(place), device=scores.device), place] = False
    return functional.cross_entropy(scores.masked_fill(others, -torch.inf), place)
