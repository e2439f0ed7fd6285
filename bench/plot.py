"""Line plots as plain SVG: panels one above the other over one x axis, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 900, 70, 20
TOP, PANEL, GAP, BOTTOM = 50, 170, 50, 70
INK, GRID, LINES = "#222", "#ddd", ("#1a66b3", "#b3501a", "#2f7d32")

Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One line over the common x axis."""

    title: str
    points: Sequence[Point]


def draw(title: str, panels: Sequence[Panel], x_label: str, caption: str) -> str:
    """Return the plot as an SVG document; every axis begins at zero."""
    last_x = _ceiling(max(x for panel in panels for x, _ in panel.points))
    height = TOP + len(panels) * (PANEL + GAP) + BOTTOM - GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f'font-family="sans-serif" font-size="13" fill="{INK}"><title>{escape(title)}</title>',
        # Without it the page's own colour shows through, which may be dark.
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 22, title, "font-weight='bold'"),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, TOP + number * (PANEL + GAP), last_x, LINES[number % len(LINES)])
    bottom = height - BOTTOM
    parts += [_text(_x(x, last_x), bottom + 18, f"{x:,g}", "text-anchor='middle'") for x in _ticks(last_x)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, x_label, "text-anchor='middle'"))
    parts.append(_text(LEFT, bottom + 60, caption, "font-size='11'"))
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, top: float, last_x: float, colour: str) -> Iterable[str]:
    last_y = _ceiling(max(y for _, y in panel.points))
    yield _text(LEFT, top - 8, panel.title, f"style='fill:{colour}'")
    for y in _ticks(last_y):
        at = top + PANEL * (1 - y / last_y)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}"/>'
        yield _text(LEFT - 8, at + 4, f"{y:,g}", "text-anchor='end'")
    drawn = " ".join(f"{_x(x, last_x):.1f},{top + PANEL * (1 - y / last_y):.1f}" for x, y in panel.points)
    yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    bottom = top + PANEL
    yield f'<path d="M{LEFT},{top} V{bottom} H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>'


def _x(x: float, last_x: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * x / last_x


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'


def _step(largest: float) -> float:
    """Return a round number that goes into a range three to seven times."""
    rough = max(largest, 1e-9) / 5
    unit: float = 10 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 5, 10) if rough <= unit * times)


def _ceiling(largest: float) -> float:
    step = _step(largest)
    return step * math.ceil(max(largest, step) / step)


def _ticks(last: float) -> list[float]:
    step = _step(last)
    return [step * number for number in range(round(last / step) + 1)]
