"""How far predicted stars lie from given stars."""

from __future__ import annotations

import numpy as np

from course_lib.evaluation.inputs import same_length


def rmse(y, y_hat) -> float:
    """Root mean squared error: √(mean (y − ŷ)²).

    y, y_hat: (n,) → float, in stars. Raises ValueError for unequal lengths, no values or NaN.
    """
    y, y_hat = same_length(y, y_hat, names=("y", "y_hat"))
    return float(np.sqrt(np.mean((y - y_hat) ** 2)))


def mae(y, y_hat) -> float:
    """Mean absolute error: mean |y − ŷ|.

    y, y_hat: (n,) → float, in stars. Raises ValueError for unequal lengths, no values or NaN.
    """
    y, y_hat = same_length(y, y_hat, names=("y", "y_hat"))
    return float(np.mean(np.abs(y - y_hat)))
