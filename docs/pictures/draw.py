"""
Draw the pictures of ``docs/concepts.md``: ``python docs/pictures/draw.py`` writes them beside itself.

Each has a ground of its own, so that it reads well wherever it is shown, and follows the reader's wish for a
light or a dark one.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
# Name: light, dark. Text keeps a contrast of 7 to its ground.
COLOURS = {
    "ground": ("#ffffff", "#161b22"),
    "text": ("#1f2328", "#e6edf3"),
    "quiet": ("#57606a", "#9da7b3"),
    "line": ("#6e7781", "#8b949e"),
    "canonical": ("#ddf4ff", "#0c2d6b"),
    "derived": ("#fff3d6", "#4d2d00"),
    "transport": ("#e4f7e4", "#0f3d1a"),
    "merged": ("#fbe5ef", "#5c1a3a"),
}


def style() -> str:
    """Return the style sheet of every picture."""
    fills = [
        "\n".join(
            f".{name} {{ fill: {pair[mode]}; }}"
            if name != "line"
            else f".{name} {{ stroke: {pair[mode]}; fill: none; }} .tip {{ fill: {pair[mode]}; }}"
            for name, pair in COLOURS.items()
        )
        for mode in (0, 1)
    ]
    font = (
        "text { font: 14px system-ui, sans-serif; } .small { font-size: 12px; } .head { font-weight: 600; }"
    )
    return f"<style>{font}\n{fills[0]}\n@media (prefers-color-scheme: dark) {{ {fills[1]} }}</style>"


def text(x: float, y: float, says: str, classes: str = "text", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x}" y="{y}" class="{classes}" text-anchor="{anchor}">{says}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, *lines: str) -> str:
    """Return a box of a kind with a head line and lines beneath."""
    drawn = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" class="{kind}"/>']
    drawn += [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" class="line" stroke-width="1"/>'
    ]
    for number, line in enumerate(lines):
        classes = "text head" if number == 0 else "quiet small"
        drawn.append(text(x + 16, y + 26 + 20 * number, line, classes))
    return "".join(drawn)


def arrow(*points: tuple[float, float], is_both: bool = False, is_dashed: bool = False) -> str:
    """Return a line through points, with a tip at its end, or at both ends."""
    path = " ".join(f"{x},{y}" for x, y in points)
    dash = ' stroke-dasharray="4 4"' if is_dashed else ""
    first = ' marker-start="url(#tip)"' if is_both else ""
    return f'<polyline points="{path}" class="line" stroke-width="1.5"{dash} marker-end="url(#tip)"{first}/>'


def picture(name: str, title: str, width: int, height: int, *drawn: str) -> None:
    """Write a picture."""
    tip = '<path d="M0,0 L8,4 L0,8 z" class="tip"/>'
    shape = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"'
    marker = f'<marker id="tip" {shape}>{tip}</marker>'
    ground = f'<rect width="{width}" height="{height}" rx="12" class="ground"/>'
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">'
    body = "\n".join([style(), f"<defs>{marker}</defs>", ground, *drawn])
    (HERE / f"{name}.svg").write_text(f"{head}\n<title>{title}</title>\n{body}\n</svg>\n")


def states() -> None:
    """Draw what is kept, what is computed from it, and what carries it."""
    picture(
        "states",
        "Canonical state in the middle; derived state is computed from it; transport carries it to devices",
        840,
        330,
        box(
            290,
            24,
            260,
            130,
            "canonical",
            "canonical · crdt_conv",
            "one Yjs document a conversation,",
            "in one SQLite file",
            "messages, parents, hidden fields,",
            "runs, drafts",
        ),
        box(
            24,
            190,
            250,
            116,
            "derived",
            "derived · adapters",
            "requests to providers, token lists,",
            "KV checkpoints, the executor",
            "may be deleted at any time",
        ),
        box(
            566,
            190,
            250,
            116,
            "transport",
            "transport · syncd",
            "updates between replicas:",
            "daemon, client, command line,",
            "stock Yjs clients, other devices",
        ),
        arrow((290, 110), (150, 110), (150, 190)),
        text(210, 100, "log → request", "quiet small", "middle"),
        arrow((230, 190), (230, 136), (290, 136)),
        text(240, 178, "answer → message", "quiet small"),
        arrow((550, 100), (690, 100), (690, 190), is_both=True),
        text(562, 90, "updates, both ways", "quiet small"),
        text(420, 246, "neither imports the other:", "quiet small", "middle"),
        text(420, 264, "they meet in the document", "quiet small", "middle"),
    )


def node(x: float, y: float, name: str, says: str, kind: str = "canonical") -> str:
    """Return a message: a circle with its name, and what it says beneath."""
    round_it = f'<circle cx="{x}" cy="{y}" r="17" '
    circle = f'{round_it}class="{kind}"/>{round_it}class="line" stroke-width="1.2"/>'
    return (
        circle + text(x, y + 5, name, "text head", "middle") + text(x, y + 36, says, "quiet small", "middle")
    )


def graph() -> None:
    """Draw a graph of two devices' messages, and the log that the last of them saw."""
    picture(
        "graph",
        "Six messages: 1, 2, then 3 and 4 on the laptop beside 5 on the phone, then 6; its log is 1 to 6",
        840,
        300,
        text(24, 36, "the graph: arrows lead to parents", "quiet small"),
        arrow((203, 120), (97, 120)),
        arrow((336, 84), (236, 113)),
        arrow((483, 80), (377, 80)),
        arrow((336, 178), (236, 128)),
        arrow((636, 120), (517, 84)),
        arrow((636, 134), (377, 182), is_dashed=True),
        node(80, 120, "1", "Where to?"),
        node(220, 120, "2", "To the sea."),
        node(360, 80, "3", "By train?", "derived"),
        node(500, 80, "4", "Yes, at nine.", "derived"),
        node(360, 184, "5", "I bring the tea.", "transport"),
        node(655, 120, "6", "Good!", "merged"),
        text(430, 40, "laptop", "quiet small", "middle"),
        text(440, 190, "phone", "quiet small"),
        text(24, 262, "what 6 saw, and will always have seen:", "quiet small"),
        *(
            f'<rect x="{300 + 62 * place}" y="242" width="50" height="30" rx="6" class="{kind}"/>'
            + text(325 + 62 * place, 262, str(place + 1), "text head", "middle")
            for place, kind in enumerate(
                ["canonical", "canonical", "derived", "derived", "transport", "merged"]
            )
        ),
    )


def hidden() -> None:
    """Draw how a hidden field stays in its place, and where it goes."""
    picture(
        "hidden",
        "One log goes to two providers: each gets all words, and only the hidden fields that it sealed",
        840,
        270,
        box(
            24,
            30,
            270,
            210,
            "canonical",
            "the log",
            "user: Which train?",
            "assistant: At nine.",
            "+ a field that A sealed",
            "user: And a room?",
            "assistant: Near the station.",
            "+ a field that B sealed",
            "user: Thank you.",
        ),
        box(
            520,
            30,
            296,
            92,
            "derived",
            "request to A",
            "all the words; the field of A, in its place",
            "left out: “B sealed it, A can't read it”",
        ),
        box(
            520,
            148,
            296,
            92,
            "derived",
            "request to B",
            "all the words; the field of B, in its place",
            "left out: “A sealed it, B can't read it”",
        ),
        arrow((294, 120), (406, 120), (406, 76), (520, 76)),
        arrow((294, 150), (406, 150), (406, 194), (520, 194)),
        text(316, 110, "materialize", "quiet small"),
    )


if __name__ == "__main__":
    states()
    graph()
    hidden()
