"""Which arm is better, at equal cost?  The same seeds for all, and differences seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pandas as pd
from torch.optim.optimizer import register_optimizer_step_post_hook

from course_lib.evaluation import mean_interval


@dataclass(frozen=True)
class Comparison:
    """values: one row per arm and seed, with value and steps; differences: one row per arm, see `differences`."""

    values: pd.DataFrame
    differences: pd.DataFrame


def compare(
    run: Callable[[Hashable, int], tuple[float, int]],
    arms: Sequence[Hashable],
    *,
    seeds: Sequence[int],
    baseline: Hashable,
    steps: int | None = None,
) -> Comparison:
    """Run every arm with every seed; all must take the same number of gradient steps.

    run(arm, seed) → (value, steps): what was measured, and how many steps of the optimizer it cost; steps: the number that
    every run must take, None for "as many as the first run". Raises ValueError for an unequal budget, fewer than two seeds,
    a baseline that is no arm, and arms or seeds that stand twice.
    """
    arms, seeds = list(arms), list(seeds)
    if baseline not in arms:
        raise ValueError(f"the baseline {baseline!r} is not among the arms {arms}")
    if len(set(arms)) < len(arms) or len(set(seeds)) < len(seeds):
        raise ValueError(f"an arm or a seed stands twice: {arms}, {seeds}")
    if len(seeds) < 2:
        raise ValueError(f"one seed shows no spread; give two or more, five are better: got {seeds}")
    rows, wanted = [], steps
    for seed in seeds:
        for arm in arms:
            value, taken = run(arm, seed)
            wanted = taken if wanted is None else wanted
            if taken != wanted:
                raise ValueError(
                    f"unequal budgets: {arm!r} with seed {seed} took {taken} gradient steps, the others {wanted}; "
                    "change epochs or batch_size until all take the same"
                )
            rows.append({"arm": arm, "seed": seed, "value": float(value), "steps": taken})
    values = pd.DataFrame(rows)
    return Comparison(values, differences(values, value="value", baseline=baseline))


class StepCounter:
    """Counts the steps of torch's optimizers while it is open: an equal budget is measured, not assumed.

    kind: the class of optimizers that count (AdamW is `training.fit`'s); None: all.  `with StepCounter() as steps: …`, then
    steps.count.
    """

    def __init__(self, kind: type | None = None):
        self.kind, self.count = kind, 0

    def __enter__(self) -> StepCounter:
        self.handle = register_optimizer_step_post_hook(self._add)
        return self

    def _add(self, optimizer, *_) -> None:
        self.count += self.kind is None or type(optimizer) is self.kind

    def __exit__(self, *_) -> None:
        self.handle.remove()


def differences(
    table: pd.DataFrame,
    *,
    value: str,
    baseline: Hashable,
    arm: str = "arm",
    pair: Sequence[str] = ("seed",),
    level: float = 0.95,
) -> pd.DataFrame:
    """Each arm minus the baseline, pair by pair.

    table: one row per arm and pair; value: the column compared; pair: the columns that make two rows a pair (seed, and draw
    where the split changes too). Pairs that an arm lacks are left out for that arm.
    → one row per other arm, in order of appearance: mean, low, high (in the unit of the value) and pairs. The interval is
    Student's, d̄ ± t s / √n: with a handful of seeds the bootstrap would be too narrow. With one pair it is not known (NaN).
    Raises ValueError where the baseline is missing, a pair stands twice in an arm, or an arm shares no pair.
    """
    wide = _wide(table, value=value, arm=arm, pair=list(pair))
    if baseline not in wide:
        raise ValueError(f"the baseline {baseline!r} is not among the arms {list(wide)}")
    rows = []
    for name in (name for name in table[arm].unique() if name != baseline):
        found = (wide[name] - wide[baseline]).dropna().to_numpy()
        if not len(found):
            raise ValueError(f"{name!r} and the baseline {baseline!r} have no {', '.join(pair)} in common")
        interval = mean_interval(found, level=level)
        rows.append({"arm": name, "mean": interval.mean, "low": interval.low, "high": interval.high, "pairs": len(found)})
    return pd.DataFrame(rows, columns=["arm", "mean", "low", "high", "pairs"]).set_index("arm")


def _wide(table: pd.DataFrame, *, value: str, arm: str, pair: list[str]) -> pd.DataFrame:
    lacking = [name for name in (value, arm, *pair) if name not in table]
    if lacking:
        raise ValueError(f"the table has no column {', '.join(lacking)}; it has {', '.join(map(str, table.columns))}")
    twice = table.duplicated([arm, *pair])
    if twice.any():
        row = table.loc[twice, [arm, *pair]].iloc[0].to_dict()
        raise ValueError(f"{row} stands twice in the table: name in `pair` every column that tells repetitions apart")
    return table.pivot(index=pair, columns=arm, values=value)
