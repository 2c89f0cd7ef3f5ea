"""Pictures of an evaluation as PNG bytes: equal numbers give equal bytes with one version of matplotlib.

Drawn on matplotlib's Agg canvas without pyplot: needs no display. The style is ours whatever a user's
matplotlibrc says; matplotlib keeps styles in one global place, so drawings wait for each other and put it
back as it was.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from podsquad.errors import DataError

INK = "#1f2933"
FAINT = "#7b8794"
GRID = "#e4e7eb"
LOSS = "#2563a8"
RATE = "#c2702b"
COLOURS = {"question_word": "#2563a8", "answer_length": "#3a8a6e", "context_length": "#8a5a9e"}
TITLES = {
    "question_word": "Question word",
    "answer_length": "Answer length",
    "context_length": "Context length",
}
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
_DPI = 150
_DRAWING = threading.Lock()


def plot_loss(history: Sequence[Mapping[str, Any]], mark: str = "") -> bytes:
    """Return a PNG of the training loss over steps, with a running mean, and of the learning rate below.

    ``history`` holds ``step``, ``loss`` and ``learning_rate`` per entry. ``mark`` is a word that must stand by them, as
    "emulated". Raises DataError when the history is empty or lacks one.
    """
    try:
        steps = np.array([float(entry["step"]) for entry in history])
        losses = np.array([float(entry["loss"]) for entry in history])
        rates = np.array([float(entry["learning_rate"]) for entry in history])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the loss history lacks step, loss or learning_rate: {error}",
            why="another version of podsquad wrote it, or it was changed by hand",
            do="run again with --refresh train",
        ) from error
    if not len(steps):
        raise DataError(
            "the loss history is empty", why="the training made no step", do="run again with --refresh train"
        )

    def draw(figure: Any) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        marker = "o" if len(steps) == 1 else None
        window = len(steps) // 50 * 2 + 1
        upper.plot(steps, losses, color=LOSS, alpha=0.35 if window > 1 else 1.0, linewidth=1.2, marker=marker)
        if window > 1:
            upper.plot(steps, _running_mean(losses, window), color=LOSS, linewidth=2.0)
            upper.text(
                1.0,
                1.0,
                f"thin: each step; thick: mean of {window} steps around",
                transform=upper.transAxes,
                ha="right",
                va="top",
                color=FAINT,
                fontsize=9,
            )
        upper.set_title("Training loss")
        upper.set_ylim(bottom=0.0)
        upper.grid(axis="y", color=GRID)
        lower.plot(steps, rates, color=RATE, linewidth=1.6, marker=marker)
        lower.set_title("Learning rate")
        lower.set_ylim(bottom=0.0, top=max(float(rates.max()) * 1.15, 1e-12))
        lower.set_yticks([0.0, float(rates.max())] if rates.max() > 0 else [0.0])
        lower.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        lower.set_xlabel("optimizer step")
        lower.grid(axis="y", color=GRID)
        for axes in (upper, lower):
            axes.set_axisbelow(True)

    return _render(draw, (8.0, 4.6), mark)


def plot_slices(slices: Mapping[str, Mapping[str, Mapping[str, Any]]], overall_f1: float, mark: str = "") -> bytes:
    """Return a PNG of F1 (percent) by slice, one panel a view, with the overall F1 as a line.

    ``slices`` is what ``podsquad.evaluation.slices.score_slices`` returns, ``mark`` as for ``plot_loss``. Raises
    DataError when it has no view.
    """
    if not slices:
        raise DataError(
            "there are no slices to draw",
            why="the evaluation tells the scores of none",
            do="run again with --refresh evaluate",
        )

    def draw(figure: Any) -> None:
        sizes = [max(1, len(view)) for view in slices.values()]
        panels = figure.subplots(len(slices), 1, height_ratios=sizes, sharex=True, squeeze=False)[:, 0]
        for axes, (view, parts) in zip(panels, slices.items(), strict=True):
            values = [float(part["f1"]) for part in parts.values()]
            rows = np.arange(len(values))
            axes.barh(rows, values, color=COLOURS.get(view, LOSS), height=0.68)
            axes.set_yticks(rows, [f"{name}  (n = {part['num_questions']:,})" for name, part in parts.items()])
            axes.invert_yaxis()
            axes.tick_params(axis="y", length=0)
            axes.axvline(overall_f1, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
            for row, value in zip(rows, values, strict=True):
                # At the root of a bar, clear of the dashed line, where the bar is long enough to hold it.
                inside = value > 8
                axes.text(
                    1.0 if inside else value + 1.0,
                    row,
                    f"{value:.1f}",
                    ha="left",
                    va="center",
                    color="white" if inside else INK,
                    fontsize=9,
                )
            axes.set_title(TITLES.get(view, view))
            axes.set_xlim(0, 100)
            axes.grid(axis="x", color=GRID)
            axes.set_axisbelow(True)
            axes.spines["left"].set_visible(False)
        panels[-1].set_xlabel(f"F1 in percent; dashed: all questions ({overall_f1:.1f})")

    return _render(draw, (8.0, 1.6 + 0.34 * sum(max(1, len(view)) + 1 for view in slices.values())), mark)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    sums = np.cumsum(np.concatenate([[0.0], values]))
    place = np.arange(len(values))
    first = np.maximum(place - window // 2, 0)
    past = np.minimum(place + window // 2 + 1, len(values))
    means: np.ndarray = (sums[past] - sums[first]) / (past - first)
    return means


def _render(draw: Callable[[Any], None], size_inches: tuple[float, float], mark: str) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _DRAWING, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        figure = Figure(figsize=size_inches, dpi=_DPI, layout=layout)
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        figure.text(0.99, 0.015, mark, ha="right", va="bottom", color=FAINT, fontweight="bold")
        buffer = io.BytesIO()
        # matplotlib's own name and version are left out of the file: a patch release should not alter bytes.
        canvas.print_png(buffer, metadata={"Software": None})
        return buffer.getvalue()
