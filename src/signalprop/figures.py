"""One look for every figure: theory as lines, measurements as points with error bars.

Series differ in colour, in line style and in marker, so that a figure can be read in print and by the colour-blind.
"""

import sys
from importlib.resources import as_file, files
from typing import Any

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

# Okabe and Ito's colours, the darker ones first; black is kept for marks such as thresholds
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")


def use_style() -> None:
    """Set matplotlib to the book's style; in a notebook, draw at double resolution."""
    with as_file(files("signalprop") / "book.mplstyle") as style:
        plt.style.use(style)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def theory_line(ax: Axes, x: Any, y: Any, series: int = 0, **style: Any) -> None:
    """Draw a prediction as a line, in the colour and line style of its series.

    Parameters
    ----------
    x, y
        Sequences or tensors of equal length.
    series
        Number of the series, from 0; its measurements take the same number.
    style
        Passed on to `Axes.plot`, such as ``label``.
    """
    at = series % len(COLOURS)
    ax.plot(x, y, **{"color": COLOURS[at], "linestyle": LINES[at], "zorder": 2, **style})


def measured_points(
    ax: Axes, x: Any, samples: Float[Tensor, "replicates points"], series: int = 0, **style: Any
) -> None:
    """Draw measurements as points: the mean over replicates, with its 95 % interval (1.96 standard errors) as a bar.

    Parameters
    ----------
    x
        One position a point.
    samples
        One row a replicate, shape [replicates, points]; at least two rows.
    series
        Number of the series, from 0.
    style
        Passed on to `Axes.errorbar`, such as ``label``.

    Raises
    ------
    ValueError
        If there is only one replicate: a point without an error bar says nothing of its error.
    """
    if len(samples) < 2:
        raise ValueError(f"samples has {len(samples)} replicate; draw at least two, or use exact_points")
    bars = 1.96 * samples.std(0) / len(samples) ** 0.5
    at = series % len(COLOURS)
    base = {"color": COLOURS[at], "marker": MARKERS[at], "linestyle": "none", "capsize": 2.5, "zorder": 3}
    ax.errorbar(x, samples.mean(0), yerr=bars, **{**base, **style})


def exact_points(ax: Axes, x: Any, y: Any, series: int = 0, **style: Any) -> None:
    """Draw measurements that have no sampling error (a deterministic run) as hollow points."""
    at = series % len(COLOURS)
    base = {"color": COLOURS[at], "marker": MARKERS[at], "linestyle": "none", "markerfacecolor": "none", "zorder": 3}
    ax.plot(x, y, **{**base, **style})
