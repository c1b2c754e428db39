"""Plots as SVG text, without a library: a page of them opens anywhere and stays as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 150, 14, 42
COLOURS = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#66aa00", "#b82e2e")


def _ticks(high: float) -> list[float]:
    """Return round values from 0 to about `high`."""
    if high <= 0:
        return [0.0, 1.0]
    step = 10.0 ** (len(str(int(high))) - 1) if high >= 1 else 0.1
    while high / step < 4:
        step /= 2
    return [step * i for i in range(int(high / step) + 2)]


class _Axes:
    """Places values in the frame of a plot."""

    def __init__(self, x_high: float, y_high: float) -> None:
        self._x, self._y = _ticks(x_high), _ticks(y_high)

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self._x[-1]

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self._y[-1]

    def draw(self, x_label: str, y_label: str, *, has_x: bool = True) -> list[str]:
        right, bottom = self.x(self._x[-1]), self.y(0)
        out = []
        for value in self._y:
            y = self.y(value)
            out.append(f'<path d="M{_LEFT} {y:.1f}H{right:.1f}" stroke="#ddd"/>')
            out.append(_text(_LEFT - 6, y + 4, f"{value:g}", "end"))
        for value in self._x if has_x else ():
            out.append(_text(self.x(value), bottom + 16, f"{value:g}", "middle"))
        out.append(_text((_LEFT + right) / 2, _HEIGHT - 8, x_label, "middle"))
        turned = f'<g transform="translate(14 {_HEIGHT / 2 - 10}) rotate(-90)">'
        return [*out, turned + _text(0, 0, y_label, "middle") + "</g>"]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    return head + "".join(parts) + "</svg>"


def _legend(names: Sequence[str]) -> list[str]:
    out = []
    for place, name in enumerate(names):
        y, colour = _TOP + 8 + 16 * place, COLOURS[place % len(COLOURS)]
        x = _WIDTH - _RIGHT + 12
        out.append(f'<rect x="{x}" y="{y - 8}" width="10" height="10" fill="{colour}"/>')
        out.append(_text(x + 15, y + 1, name, "start"))
    return out


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """Return lines through points, one colour for each name."""
    points = [point for found in series.values() for point in found]
    axes = _Axes(max((x for x, _ in points), default=1), max((y for _, y in points), default=1))
    parts = axes.draw(x_label, y_label)
    for place, found in enumerate(series.values()):
        colour = COLOURS[place % len(COLOURS)]
        path = "L".join(f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in found)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(found) <= 12:
            parts += [
                f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3" fill="{colour}"/>'
                for x, y in found
            ]
    return _svg(parts + _legend(list(series)))


def shares(series: Mapping[str, Sequence[float]], x_label: str) -> str:
    """Return, for each name, which share of its values is at most x."""
    steps = {}
    for name, values in series.items():
        ordered = sorted(values)
        points = [(ordered[0] if ordered else 0.0, 0.0)]
        for place, value in enumerate(ordered):
            points += [(value, points[-1][1]), (value, (place + 1) / len(ordered))]
        steps[name] = points
    return lines(steps, x_label, "share of runs")


def bars(values: Mapping[str, float], label: str) -> str:
    """Return one bar for each name."""
    axes = _Axes(max(len(values), 1), max(values.values(), default=1.0))
    parts = axes.draw("", label, has_x=False)
    for place, value in enumerate(values.values()):
        x, top = axes.x(place + 0.15), axes.y(value)
        width, height = axes.x(0.7) - axes.x(0), axes.y(0) - top
        colour = COLOURS[place % len(COLOURS)]
        box = f'x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        parts.append(f'<rect {box} fill="{colour}"/>')
        parts.append(_text(x + width / 2, top - 4, f"{value:.3g}", "middle"))
    return _svg(parts + _legend(list(values)))
