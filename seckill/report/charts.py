"""Charts as SVG text: lines, stacked areas, bars. Pure functions; the page defines the colours.

Each chart is drawn twice, wide and narrow, so that its axes can be read on a desk, on paper and on
a phone: the page shows one of the two. No script, no tooltip.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 28
# Points of a line at most. More than the chart can show would only make the file larger.
POINTS = 400
# Colours that the page defines: --c0 ... --c7.
COLOURS = 8


class Size(NamedTuple):
    """A drawing: its class in the page, its width and height, how many times its axis names."""

    name: str
    width: int
    height: int
    marks: int


WIDE, NARROW = Size("wide", 760, 240, 8), Size("narrow", 380, 220, 4)
# The narrowest bar that has room for a label.
LABEL = 36


@dataclass(frozen=True)
class Line:
    """One line or layer: (x, y) in the order of x, and the number of its colour."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


def number(value: float) -> str:
    """1,234 or 0.5: for axes and tables."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 0.1 else f"{value:.2g}"


def lines(what: str, chart: Sequence[Line], unit: str = "") -> str:
    """A line chart over seconds. `what` describes it to screen readers."""
    top = max((y for line in chart for _, y in line.points), default=0.0)

    def draw(size: Size) -> list[str]:
        frame = _Frame(size, _end(chart), top)
        parts = [frame.axes(unit)]
        for line in chart:
            path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in thinned(line.points))
            parts.append(f'<polyline class="line s{line.colour % COLOURS}" points="{path}"/>')
        return parts

    return _svg(what, draw) + _legend(chart)


def areas(what: str, chart: Sequence[Line], unit: str = "") -> str:
    """A stacked area chart; all layers have the same x values."""
    chart = [Line(line.name, thinned(line.points), line.colour) for line in chart]
    xs = [x for x, _ in chart[0].points] if chart else []
    tops = [sum(line.points[i][1] for line in chart) for i in range(len(xs))]

    def draw(size: Size) -> list[str]:
        frame = _Frame(size, _end(chart), max(tops, default=0.0))
        parts = [frame.axes(unit)]
        below = [0.0] * len(xs)
        for line in chart:
            above = [low + y for low, (_, y) in zip(below, line.points, strict=True)]
            edge = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(xs, above, strict=True)]
            back = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(xs, below, strict=True)]
            path = " ".join(edge + back[::-1])
            parts.append(f'<polygon class="area f{line.colour % COLOURS}" points="{path}"/>')
            below = above
        return parts

    return _svg(what, draw) + _legend(chart)


def bars(what: str, values: Sequence[tuple[str, float]], colour: int = 0) -> str:
    """A bar for each (label, value), with the value above it."""

    def draw(size: Size) -> list[str]:
        frame = _Frame(size, 1.0, max((value for _, value in values), default=0.0))
        parts = [frame.axes("", seconds=False)]
        slot = (size.width - LEFT - RIGHT) / max(1, len(values))
        # Labels that would lie on each other are left out.
        step = math.ceil(LABEL / slot)
        for i, (label, value) in enumerate(values):
            x, y = LEFT + i * slot, frame.y(value)
            height = size.height - BOTTOM - y
            middle = x + slot / 2
            parts.append(
                f'<rect class="bar f{colour}" x="{x + slot * 0.1:.1f}" y="{y:.1f}"'
                f' width="{slot * 0.8:.1f}" height="{height:.1f}"/>'
            )
            if i % step == 0:
                parts.append(_text(middle, size.height - 10, label, "middle"))
                if value:
                    parts.append(_text(middle, y - 4, _short(value), "middle"))
        return parts

    return _svg(what, draw)


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """About POINTS of the points, including the first and the last."""
    step = math.ceil(len(points) / POINTS)
    if step <= 1:
        return points
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def ticks(top: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to the first one that is not below `top`."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    return [step * n for n in range(math.ceil(top / step - 1e-9) + 1)]


class _Frame:
    """Maps values to coordinates of the drawing."""

    def __init__(self, size: Size, end: float, top: float) -> None:
        self.size = size
        self.rows = ticks(top)
        self.top, self.end = self.rows[-1], end or 1.0

    def x(self, value: float) -> float:
        return LEFT + (self.size.width - LEFT - RIGHT) * value / self.end

    def y(self, value: float) -> float:
        return self.size.height - BOTTOM - (self.size.height - TOP - BOTTOM - 10) * value / self.top

    def axes(self, unit: str, seconds: bool = True) -> str:
        parts = []
        for i, row in enumerate(self.rows):
            y = self.y(row)
            parts.append(
                f'<line class="grid" x1="{LEFT}" y1="{y:.1f}"'
                f' x2="{self.size.width - RIGHT}" y2="{y:.1f}"/>'
            )
            last = i == len(self.rows) - 1
            parts.append(_text(LEFT - 6, y + 4, _short(row) + (unit if last else ""), "end"))
        if seconds:
            marks = [mark for mark in ticks(self.end, self.size.marks) if mark <= self.end]
            for mark in marks:
                parts.append(_text(self.x(mark), self.size.height - 10, _clock(mark), "middle"))
        return "".join(parts)


def _short(value: float) -> str:
    for limit, word in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if word == "k" else limit)
            return f"{scaled:.1f}".removesuffix(".0") + word
    return number(value)


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(what: str, draw: Callable[[Size], Sequence[str]]) -> str:
    name = escape(what, quote=True)
    return "".join(
        f'<svg class="{size.name}" viewBox="0 0 {size.width} {size.height}" role="img"'
        f' aria-label="{name}">' + "".join(draw(size)) + "</svg>"
        for size in (WIDE, NARROW)
    )


def _legend(chart: Sequence[Line]) -> str:
    entry: Callable[[Line], str] = lambda line: (  # noqa: E731
        f'<li><i class="f{line.colour % COLOURS}"></i>{escape(line.name)}</li>'
    )
    return '<ul class="legend">' + "".join(map(entry, chart)) + "</ul>"


def _end(chart: Sequence[Line]) -> float:
    return max((x for line in chart for x, _ in line.points), default=0.0)
