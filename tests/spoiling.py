"""An answer that cheats: where a hidden test calls it, it first empties its arguments.

A test that then computes the truth from them finds the truth about nothing, which is easy to say.
"""

import functools
import linecache
import numbers
import sys

import numpy as np
import pandas as pd
import torch


def spoiler(answer, hidden: set[int], seen: list):
    """The answer, with its arguments emptied where a hidden line of a check calls; each of them is noted in `seen`."""

    @functools.wraps(answer)
    def cheat(*args, **options):
        if _line_of_check() in hidden:
            for value in [*args, *options.values()]:
                _spoil(value, seen)
        return answer(*args, **options)

    return cheat


def _line_of_check() -> int:
    """Number of the line in the check cell that is being executed; 0 where none is."""
    frame = sys._getframe()
    while frame:
        if "with check(" in "".join(linecache.getlines(frame.f_code.co_filename)) and "<cell" in frame.f_code.co_filename:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def _spoil(value, seen: list) -> None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.any() and value.flags.writeable:
        value[...] = 0
    elif isinstance(value, torch.Tensor) and value.any():
        value.data.zero_()
    elif isinstance(value, pd.Series) and len(value) > 1:
        value[:] = value.iloc[0]
    elif isinstance(value, pd.DataFrame) and len(value) > 1:
        for column in value:
            value[column] = value[column].iloc[0]
    elif isinstance(value, list) and len(value) > 1 and all(isinstance(part, numbers.Number | str) for part in value):
        value[:] = value[:1] * len(value)
    elif isinstance(value, set) and value:
        value.clear()
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _spoil(part, seen)
        return
    else:
        return
    seen.append(type(value).__name__)
