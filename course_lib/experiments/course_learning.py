"""The article's course (language, then graph, then task), stage by stage, against the same compute spent on the task."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
from torch.optim import AdamW

from course_lib.curriculum import StepCounter, TextStudent, course, neighbour_auc
from course_lib.experiments import cold_items
from course_lib.experiments.fine_tuning import training
from course_lib.experiments.runner import Cell, Experiment
from course_lib.knowledge_graph import fact_graph, item_vectors
from course_lib.models import TwoTower
from course_lib.text import TextEncoder

FACTS = 64  # numbers per item that are kept of the graph
PROBED = 128  # texts whose hidden words are guessed, before and after
NEIGHBOURS = 5  # in the graph, see `neighbour_auc`


@lru_cache(maxsize=8)
def facts(links: str = "repaired", seed: int = 0) -> np.ndarray:
    """A vector of each item's facts (n_items, FACTS); links="permuted": of another item's, dealt out by `seed`."""
    return item_vectors(fact_graph(cold_items.movielens(), links=links, seed=seed), size=FACTS)


def staged(
    cell: Cell, *, plan: tuple = (), epochs: int = 1, tune: str = "full", links="repaired", beside: bool = False
) -> dict:
    """Train an encoder through the stages of the plan, then the two-tower model with it, and measure before and after.

    plan: (stage, part) pairs, part being that of one epoch of the task: an epoch takes the items that somebody likes, in
    steps of 64 texts, and a stage takes so many steps of 64 texts; epochs: of the task; beside: the graph's vectors stand
    beside the texts' in the task.
    steps: of the optimizer in which the encoder learned, in all stages. auc, ndcg: of the task's model on the held-out items.
    What the encoder is worth before the task (…_staged) and after it (…_kept): probe: AUC of a new two-tower model on it,
    frozen, which is trained alike in all variants, so that it compares encoders where the task had one epoch or two; words:
    loss of the language stage's own head in nats, NaN without that stage; graph: `neighbour_auc` of the held-out items.
    """
    part, encoder = cold_items.split(cell.draw), TextEncoder()
    known = facts(links, cell.seed if links == "permuted" else 0)
    student = TextStudent(cold_items.texts(), encoder=encoder, facts=known if plan else None, seed=cell.seed)
    with StepCounter(AdamW) as steps:
        if plan:
            course(student, _stages(student, plan, cell))
    words = any(stage == "language" for stage, _ in plan)
    found = {f"{name}_staged": value for name, value in _worth(student, encoder, cell, words=words).items()}
    with steps:
        model = _tower(cell, encoder, tune=tune, epochs=epochs, features=facts() if beside else None)
    if tune != "none":
        student.bert.load_state_dict(model.towers_.reader.model.state_dict())
    found |= {f"{name}_kept": value for name, value in _worth(student, encoder, cell, words=words).items()}
    found |= cold_items.ranking(model.score(range(model.n_users)), part)
    return found | {"steps": steps.count if tune != "none" else 0, "trainable": model.trainable[0]}


def _tower(cell: Cell, encoder: TextEncoder, *, tune: str, epochs: int, features=None) -> TwoTower:
    options = {"tune": tune, "loss": "softmax", "features": features, "seed": cell.seed}
    model = TwoTower(cold_items.texts(), encoder=encoder, training=training(tune, cell, epochs=epochs), **options)
    return model.fit(cold_items.split(cell.draw))


def _stages(student: TextStudent, plan: tuple, cell: Cell) -> list:
    """The plan's stages, each of as many full steps as its part of the task's epoch says."""
    config, train = training("full", cell, epochs=1), cold_items.split(cell.draw).train
    epoch = math.ceil(train.loc[train["rating"] >= cold_items.LIKED, "item"].nunique() / config.batch_size)
    everything = {"language": np.arange(len(cold_items.texts())), "graph": student.known.numpy()}
    make = {"language": student.language_stage, "graph": student.graph_stage}
    rng, done, stages = np.random.default_rng(cell.seed), 0.0, []
    for name, share in plan:
        steps = round((done + share) * epoch) - round(done * epoch)
        done += share
        wanted, items = steps * config.batch_size, everything[name]
        rows = [rng.permutation(items) for _ in range(math.ceil(wanted / len(items)))]
        stages.append(make[name](config, items=np.concatenate(rows)[:wanted]))
    return stages


def _worth(student: TextStudent, encoder: TextEncoder, cell: Cell, *, words: bool) -> dict[str, float]:
    """What the encoder is good for now: for the task, the language of the texts, the true facts of the held-out items."""
    student.eval()
    part, true = cold_items.split(cell.draw), facts()
    items, probe = cold_items.cold(part), _tower(cell, encoder, tune="none", epochs=2)
    items = items[true[items].any(axis=1)]
    texts = np.random.default_rng(0).permutation(len(cold_items.texts()))[:PROBED]
    return {
        "probe": cold_items.ranking(probe.score(range(probe.n_users)), part)["auc"],
        "words": student.language_probe(texts) if words else math.nan,
        "graph": neighbour_auc(student.vectors(items), true[items], neighbours=NEIGHBOURS),
    }


EXPERIMENT = Experiment(
    name="course_learning",
    question="Does the course language, graph, task do more than the same compute spent on the task alone?",
    metrics=(
        "auc",
        "ndcg",
        *(f"{name}_{when}" for name in ("probe", "words", "graph") for when in ("staged", "kept")),
        "steps",
    ),
    variants={
        "frozen": partial(staged, tune="none", epochs=2),
        "frozen_graph_beside": partial(staged, tune="none", epochs=2, beside=True),
        "task_only": staged,
        "task_only_longer": partial(staged, epochs=2),
        "mlm_then_task": partial(staged, plan=(("language", 1.0),)),
        "graph_then_task": partial(staged, plan=(("graph", 1.0),)),
        "placebo_then_task": partial(staged, plan=(("graph", 1.0),), links="permuted"),
        "mlm_graph_task": partial(staged, plan=(("language", 0.5), ("graph", 0.5))),
        "task_graph_beside": partial(staged, epochs=2, beside=True),
    },
)
