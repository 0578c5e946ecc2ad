"""Figures are looked at through their artists and, where only the eye counts, their pixels."""

import itertools
import sys
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color, to_rgb

from signalprop import figures

SERIES = range(6)
SAMPLES = torch.tensor([[1.0, 10.0], [2.0, 30.0], [6.0, 20.0]])


@pytest.fixture(autouse=True)
def agg():
    """Draw to memory, and leave neither figure nor style behind."""
    plt.switch_backend("Agg")
    with mpl.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.figure().add_subplot()


def pixels(draw):
    """What `draw` leaves on an otherwise empty canvas."""
    figure = plt.figure(figsize=(2, 1), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    draw(ax)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def all_differ(images):
    return all(not np.array_equal(a, b) for a, b in itertools.combinations(images, 2))


def means_and_bars(ax):
    """Centres and half lengths of the error bars drawn last."""
    points, _, (bars,) = ax.containers[-1]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    return points.get_xydata(), [(top - bottom) / 2 for bottom, top in ends], [(a + b) / 2 for a, b in ends]


# --- theory as lines -------------------------------------------------------------------------------------------------


def test_theory_line_draws_the_prediction(ax):
    figures.theory_line(ax, torch.tensor([1.0, 2.0, 3.0]), [4.0, 5.0, 6.0], label="law")
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [[1, 4], [2, 5], [3, 6]]
    assert line.get_label() == "law"
    assert line.get_marker() == "None"


def test_lines_of_different_series_differ_in_colour(ax):
    for series in SERIES:
        figures.theory_line(ax, [0, 1], [0, 1], series)
    assert len({to_rgb(line.get_color()) for line in ax.lines}) == 6


def test_lines_of_different_series_differ_without_colour():
    assert all_differ([pixels(lambda ax, s=s: figures.theory_line(ax, [0, 1], [0, 1], s, color="k")) for s in SERIES])


def test_series_beyond_the_sixth_begin_again(ax):
    figures.theory_line(ax, [0, 1], [0, 1], 1)
    figures.theory_line(ax, [0, 1], [0, 1], 7)
    first, again = ax.lines
    assert (first.get_color(), first.get_linestyle()) == (again.get_color(), again.get_linestyle())


def test_style_of_a_line_can_be_overridden(ax):
    figures.theory_line(ax, [0, 1], [0, 1], 0, color="black", linestyle=":", zorder=9)
    (line,) = ax.lines
    assert (line.get_color(), line.get_linestyle(), line.get_zorder()) == ("black", ":", 9)


# --- measurements as points ------------------------------------------------------------------------------------------


def test_points_are_the_means_over_replicates(ax):
    figures.measured_points(ax, [5.0, 7.0], SAMPLES)
    points, _, centres = means_and_bars(ax)
    assert points.tolist() == [[5, 3], [7, 20]]
    assert centres == pytest.approx([3, 20])


def test_bars_are_1_96_standard_errors(ax):
    """Sums of squares 14 and 200 over n − 1 = 2 are the variances 7 and 100."""
    figures.measured_points(ax, [5.0, 7.0], SAMPLES)
    _, halves, _ = means_and_bars(ax)
    assert halves == pytest.approx([1.96 * (7 / 3) ** 0.5, 1.96 * (100 / 3) ** 0.5], rel=1e-6)


def test_points_are_not_joined(ax):
    figures.measured_points(ax, [5.0, 7.0], SAMPLES)
    assert ax.containers[-1][0].get_linestyle() == "None"


def test_points_take_a_label(ax):
    figures.measured_points(ax, [5.0, 7.0], SAMPLES, label="measured")
    assert ax.get_legend_handles_labels()[1] == ["measured"]


def test_points_of_different_series_differ_without_colour():
    images = [
        pixels(lambda ax, s=s: figures.measured_points(ax, [5.0, 7.0], SAMPLES, s, color="black")) for s in SERIES
    ]
    assert all_differ(images)


@pytest.mark.parametrize("replicates", [0, 1])
def test_points_without_error_bar_are_refused(ax, replicates):
    with pytest.raises(ValueError, match=f"has {replicates} replicate; draw at least two, or use exact_points"):
        figures.measured_points(ax, [5.0, 7.0], SAMPLES[:replicates])


def test_exact_points_are_hollow_and_not_joined(ax):
    figures.exact_points(ax, torch.tensor([1, 2]), torch.tensor([3.0, 4.0]), 2, label="run")
    (points,) = ax.lines
    assert points.get_xydata().tolist() == [[1, 3], [2, 4]]
    assert (points.get_markerfacecolor(), points.get_linestyle(), points.get_label()) == ("none", "None", "run")


def test_exact_points_of_different_series_differ_without_colour():
    assert all_differ([pixels(lambda ax, s=s: figures.exact_points(ax, [0], [0], s, color="black")) for s in SERIES])


@pytest.mark.parametrize("series", SERIES)
def test_prediction_and_measurement_of_one_series_share_the_colour(ax, series):
    figures.theory_line(ax, [0, 1], [0, 1], series)
    figures.exact_points(ax, [0, 1], [0, 1], series)
    figures.measured_points(ax, [0, 1], SAMPLES, series)
    assert len({to_rgb(line.get_color()) for line in ax.lines[:3]}) == 1


def test_measurements_lie_on_top_of_predictions(ax):
    figures.measured_points(ax, [0, 1], SAMPLES)
    figures.exact_points(ax, [0, 1], [0, 1])
    figures.theory_line(ax, [0, 1], [0, 1])
    *points, line = ax.lines
    assert all(p.get_zorder() > line.get_zorder() for p in points)


# --- the style -------------------------------------------------------------------------------------------------------


def test_style_sets_the_look_of_the_book():
    figures.use_style()
    assert mpl.rcParams["axes.grid"]
    assert not mpl.rcParams["axes.spines.top"]
    assert mpl.rcParams["figure.figsize"] == [7.2, 3.6]


def test_style_cycles_through_the_colours_of_the_series():
    figures.use_style()
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert all(same_color(a, b) for a, b in zip(cycle, figures.COLOURS, strict=True))


@pytest.mark.parametrize("ipython", [None, SimpleNamespace(get_ipython=lambda: None)], ids=["absent", "imported only"])
def test_outside_a_notebook_the_inline_backend_is_not_asked_for(monkeypatch, ipython):
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "matplotlib_inline.backend_inline", None)  # importing it would fail
    figures.use_style()


def test_in_a_notebook_figures_have_double_resolution(monkeypatch):
    asked = []
    inline = SimpleNamespace(set_matplotlib_formats=asked.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    monkeypatch.setitem(sys.modules, "matplotlib_inline", SimpleNamespace(backend_inline=inline))
    monkeypatch.setitem(sys.modules, "matplotlib_inline.backend_inline", inline)
    figures.use_style()
    assert asked == ["retina"]
