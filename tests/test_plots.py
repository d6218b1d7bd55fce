"""Figures carry their description, and the shared charts draw what they are given."""

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from matplotlib import pyplot as plt

from course_lib import plots

ALT = "Line of the error over the epochs: it falls from 1.1 to 0.9 stars and then stays flat."


@pytest.fixture
def published(monkeypatch):
    bundles = []
    monkeypatch.setattr(plots, "_publish", bundles.append)
    return bundles


def test_show_stores_picture_and_text_then_a_visible_caption(published):
    fig, ax = plots.figure()
    ax.plot([1, 2], [1.1, 0.9])
    plots.show(fig, alt=ALT + "\n  <see>")
    picture, caption = published
    assert picture["image/png"].startswith(b"\x89PNG") and picture["text/plain"] == ALT + " <see>"
    assert caption["text/html"].startswith('<p class="caption"><em>Figure.</em> Line') and "&lt;see&gt;" in caption["text/html"]
    assert not plt.fignum_exists(fig.number)


def test_the_same_figure_gives_the_same_bytes(published):
    for _ in range(2):
        fig, ax = plots.figure()
        ax.plot([1, 2], [1.1, 0.9])
        plots.show(fig, alt=ALT)
    assert published[0] == published[2]


def test_a_figure_without_a_real_description_is_refused():
    fig, _ = plots.figure()
    with pytest.raises(ValueError, match="alt has 6 characters"):
        plots.show(fig, alt="  a   plot ")
    plt.close(fig)


def test_outside_a_notebook_the_description_is_printed(capsys):
    fig, _ = plots.figure()
    plots.show(fig, alt=ALT)
    assert ALT in capsys.readouterr().out


def test_panels_and_the_palette():
    fig, axes = plots.figure(rows=2, columns=3)
    assert axes.shape == (2, 3) and fig.get_size_inches()[0] <= 10
    lines = [axes[0, 0].plot([0, 1], [0, i])[0] for i in range(4)]
    assert [line.get_color() for line in lines] == list(plots.PALETTE)
    assert len({line.get_linestyle() for line in lines}) == 4  # told apart without colour
    plt.close(fig)
    with pytest.raises(ValueError, match="rows=0"):
        plots.figure(rows=0)


def test_line_with_band_draws_the_line_and_its_band():
    fig, ax = plots.figure()
    plots.line_with_band(ax, [0, 1, 2], [1, 2, 3], [0, 1, 2], [2, 3, 5], label="model", index=1)
    (line,) = ax.get_lines()
    assert line.get_ydata().tolist() == [1, 2, 3] and line.get_color() == plots.PALETTE[1] and line.get_label() == "model"
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == 5
    with pytest.raises(ValueError, match="of one length"):
        plots.line_with_band(ax, [0, 1], [1], [0], [2], label="short")
    with pytest.raises(ValueError, match="at most four"):
        plots.line_with_band(ax, [0], [1], [0], [2], label="fifth", index=4)
    plt.close(fig)


def test_interval_plot_puts_the_first_label_on_top_with_its_interval():
    fig, ax = plots.figure()
    plots.interval_plot(ax, ["a", "b"], [(0.2, 0.1, 0.4), (0.5, 0.4, 0.6)], reference=0)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    segments = ax.collections[0].get_segments()
    assert np.allclose([s[:, 0] for s in segments], [[0.1, 0.4], [0.4, 0.6]])
    with pytest.raises(ValueError, match="1 labels for 2"):
        plots.interval_plot(ax, ["a"], [(0, 0, 0), (0, 0, 0)])
    plt.close(fig)
