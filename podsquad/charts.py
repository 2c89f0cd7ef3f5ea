"""Small pictures as SVG text: a few kilobytes where the evaluation's PNG files take seventy.

For pages that keep every night's picture in a database. Equal numbers give equal text; nothing is imported to draw.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

INK, FAINT, GRID, BLUE = "#1f2933", "#7b8794", "#e4e7eb", "#2563a8"
TITLES = {"question_word": "Question word", "answer_length": "Answer length", "context_length": "Context length"}
_WIDTH = 720
_MOST_POINTS = 240  # more cannot be told apart at that width


def draw_loss(losses: Sequence[float]) -> str:
    """Return an SVG of the training loss by optimizer step: each step thin, the mean around it thick."""
    left, right, top, bottom, height = 52, 16, 44, 40, 300
    across, down = _WIDTH - left - right, height - top - bottom
    most = _round_up(max(losses, default=1.0))

    def points(values: Sequence[float]) -> str:
        stride = max(1, -(-len(values) // _MOST_POINTS))
        rows = sorted({*range(0, len(values), stride), *([len(values) - 1] if values else [])})
        places = [
            (left + across * (row + 1) / max(len(losses), 1), top + down * (1 - values[row] / most)) for row in rows
        ]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    parts = [_text(left - 36, 22, "Training loss", weight="bold")]
    parts.append(_text(_WIDTH - right, 22, "thin: each step; thick: mean around it", anchor="end", fill=FAINT, size=11))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + down * (1 - share)
        parts.append(f'<path d="M{left} {y:.1f}H{_WIDTH - right}" stroke="{GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{most * share:g}", anchor="end"))
    for share in (0.0, 0.5, 1.0):
        anchor = "end" if share == 1.0 else "middle" if share else "start"
        parts.append(
            _text(left + across * share, height - bottom + 18, f"{round(len(losses) * share):,}", anchor=anchor)
        )
    parts.append(_text(left + across / 2, height - 6, "optimizer step", anchor="middle", fill=FAINT))
    for values, width, opacity in ((losses, 1, 0.4), (_means(losses), 2.5, 1)):
        line = f'fill="none" stroke="{BLUE}" stroke-width="{width}" opacity="{opacity}"'
        parts.append(f'<polyline points="{points(values)}" {line}/>')
    return _svg(height, parts)


def draw_slices(slices: Mapping[str, Mapping[str, Mapping[str, Any]]], overall_f1: float) -> str:
    """Return an SVG of F1 (percent) by slice, one group of bars a view, with the overall F1 as a dashed line."""
    left, right, row_height, y = 200, 24, 22, 30
    across = _WIDTH - left - right
    parts: list[str] = []
    for view, group in slices.items():
        parts.append(_text(16, y, TITLES.get(view, view), weight="bold"))
        first = y + 8
        for number, (name, part) in enumerate(group.items()):
            place = first + number * row_height
            parts.append(_text(left - 8, place + 14, f"{name} ({part['num_questions']:,})", anchor="end"))
            parts.append(f'<rect x="{left}" y="{place}" width="{across}" height="17" fill="{GRID}" opacity="0.6"/>')
            width = across * part["f1"] / 100
            parts.append(f'<rect x="{left}" y="{place}" width="{width:.1f}" height="17" fill="{BLUE}"/>')
            inside = part["f1"] > 10
            x, fill = (left + 6, "white") if inside else (left + width + 6, INK)
            parts.append(_text(x, place + 13, f"{part['f1']:.1f}", fill=fill))
        y = first + len(group) * row_height + 30
        x = left + across * overall_f1 / 100
        parts.append(f'<path d="M{x:.1f} {first - 3}V{y - 31}" stroke="{INK}" stroke-dasharray="4 3"/>')
    parts.append(_text(left, y - 8, f"F1 in percent; dashed: all questions ({overall_f1:.1f})", fill=FAINT))
    return _svg(y + 6, parts)


def draw_nights(f1: Sequence[float], published: Sequence[bool]) -> str:
    """Return an SVG of F1 (percent) by night, the oldest first; a night that was published is a full circle."""
    left, right, top, bottom, height = 52, 16, 44, 30, 260
    across, down = _WIDTH - left - right, height - top - bottom
    least = _round_down(min(f1, default=0.0))
    places = [
        (left + across * (row + 0.5) / len(f1), top + down * (100 - value) / (100 - least))
        for row, value in enumerate(f1)
    ]
    parts = [_text(left - 36, 22, "F1 of the nights", weight="bold")]
    parts.append(_text(_WIDTH - right, 22, "full: published; empty: not", anchor="end", fill=FAINT, size=11))
    for share in (0.0, 0.5, 1.0):
        y = top + down * (1 - share)
        parts.append(f'<path d="M{left} {y:.1f}H{_WIDTH - right}" stroke="{GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{least + (100 - least) * share:g}", anchor="end"))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="1" opacity="0.4"/>')
    for (x, y), is_published in zip(places, published, strict=True):
        fill = BLUE if is_published else "white"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{BLUE}" stroke-width="1.5"/>')
    parts.append(_text(left + across / 2, height - 8, "oldest to newest", anchor="middle", fill=FAINT))
    return _svg(height, parts)


def data_uri(svg: str) -> str:
    """Return an SVG as an address that a page can show without asking anybody for it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _means(values: Sequence[float]) -> list[float]:
    reach = max(1, len(values) // 40)
    parts = [values[max(0, row - reach) : row + reach + 1] for row in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _round_up(value: float) -> float:
    """Return the first of 1, 2, 4, 6, 8, 10 times a power of ten that is not below ``value``."""
    power = 1e-9
    while True:
        for digit in (1, 2, 4, 6, 8):
            if digit * power >= value:
                return digit * power
        power *= 10


def _round_down(percent: float) -> float:
    """Return where a scale that ends at 100 begins: the last of 0, 50, 80, 90, 95, 98 that is not above ``percent``."""
    return max(first for first in (0.0, 50.0, 80.0, 90.0, 95.0, 98.0) if first <= max(percent, 0.0))


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = INK, size: int = 12, weight: str = "normal"
) -> str:
    style = f'text-anchor="{anchor}" fill="{fill}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


def _svg(height: float, parts: Iterable[str]) -> str:
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" height="{height:g}"'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg {frame} font-family="system-ui, sans-serif">{paper}{"".join(parts)}</svg>'
