"""One style for every figure of the course, and one way to show a figure with its description."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
SHORTEST_ALT = 40  # characters


def style() -> None:
    """Apply the course's look to matplotlib: four Okabe–Ito hues, each doubled by a dash, light grid, readable text."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=PALETTE) + mpl.cycler(linestyle=DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "grid.alpha": 0.3,
            "grid.linewidth": 0.6,
            "font.size": 10,
            "image.cmap": "viridis",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )


def figure(*, rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None):
    """Make a figure in the course's style.

    Shapes: one Axes for one panel, else an array of Axes (rows, columns) with axes of length one dropped.
    Units: `size` is (width, height) in inches; left out, it grows with the panels and stays within a notebook's width.
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"figure needs at least one row and one column of panels, got rows={rows}, columns={columns}")
    size = size or (min(5.6 + 2.6 * (columns - 1), 10.0), 3.3 * rows)
    return plt.subplots(rows, columns, figsize=size, layout="constrained")


def show(fig, *, alt: str) -> None:
    """Display a figure with its description: stored as text beside the picture, and as a caption that everyone sees.

    `alt` says which kind of figure it is, which quantity it shows, and the trend; computed numbers rounded.
    Raises ValueError where the description is missing or too short to say that. Closes the figure.
    """
    text = " ".join(str(alt).split())
    if len(text) < SHORTEST_ALT:
        raise ValueError(
            f"plots.show: alt has {len(text)} characters, it needs {SHORTEST_ALT} or more: "
            "describe the type of the figure, the quantity it shows, and the trend"
        )
    image = io.BytesIO()
    fig.savefig(image, format="png", dpi=90, metadata={"Software": None})
    plt.close(fig)
    caption = f'<p class="caption"><em>Figure.</em> {html.escape(text)}</p>'
    _publish({"image/png": image.getvalue(), "text/plain": text})
    _publish({"text/html": caption, "text/plain": "(caption: the description above)"})


def _publish(bundle: dict) -> None:
    """Send one output to the notebook; outside of a notebook, print its text."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)


def line_with_band(ax, x, y, low, high, *, label: str, index: int = 0) -> None:
    """Draw y over x with the band [low, high] around it; all four of shape (n,).

    `index` (0–3) picks colour, dash and marker together, so that lines stay apart without colour.
    """
    if not 0 <= index < len(PALETTE):
        raise ValueError(f"line_with_band: index is {index}, it must be 0 to {len(PALETTE) - 1}: at most four lines a panel")
    x, y, low, high = (np.asarray(values, dtype=float) for values in (x, y, low, high))
    if not x.shape == y.shape == low.shape == high.shape:
        raise ValueError(
            f"line_with_band: x, y, low and high must be of one length, got {x.shape}, {y.shape}, {low.shape}, {high.shape}"
        )
    ax.plot(x, y, color=PALETTE[index], linestyle=DASHES[index], marker=MARKERS[index], label=label)
    ax.fill_between(x, low, high, color=PALETTE[index], alpha=0.18, linewidth=0)


def interval_plot(ax, labels: Sequence[str], intervals: Sequence, *, reference: float | None = None) -> None:
    """Draw one dot with its interval per label, first label on top.

    `intervals` holds objects with `mean`, `low`, `high` (as `evaluation.bootstrap` returns) or such triples.
    `reference`: a value to mark with a vertical line, zero for differences.
    """
    if len(labels) != len(intervals):
        raise ValueError(f"interval_plot: {len(labels)} labels for {len(intervals)} intervals; give one label for each")
    triples = [(i.mean, i.low, i.high) if hasattr(i, "mean") else tuple(i) for i in intervals]
    mean, low, high = np.array(triples, dtype=float).reshape(-1, 3).T
    height = np.arange(len(labels))
    ax.errorbar(mean, height, xerr=np.stack([mean - low, high - mean]), fmt="o", linestyle="none", color=PALETTE[0], capsize=3)
    if reference is not None:
        ax.axvline(reference, color=PALETTE[1], linestyle="--", linewidth=1.2)
    ax.set_yticks(height, list(labels))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


style()
