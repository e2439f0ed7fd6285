"""A conversation's graph as text: a row for each message, a column for each branch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from crdt_conv import Conversation, Message
from crdt_conv.messages.message import REDACTED

LINE_CHARACTERS = 200
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")


def draw_graph(conversation: Conversation) -> Group:
    """Return the graph of all branches, oldest message first: every row is one line."""
    rows = _rows(conversation)
    columns = {name: column for column, name in enumerate(conversation.branches)}
    drawn = Text()
    open_columns: set[int] = set()
    for message in rows:
        column = columns[message.branch]
        parents = {columns[conversation.message(parent).branch] for parent in message.parents}
        joined = (parents - {column}) & open_columns if len(message.parents) > 1 else set()
        forked = not joined and column not in parents and bool(parents)
        if joined or forked:
            _draw_join(drawn, column, sorted(joined or parents), len(columns))
        open_columns = (open_columns - joined) | {column}
        _draw_row(drawn, message, column, open_columns, len(columns))
    drawn.rstrip()
    lines = drawn.split("\n")
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _rows(conversation: Conversation) -> Sequence[Message]:
    """Return every placed message once, parents first: the log under the heads of all branches."""
    heads = [head for branch in conversation.branches for head in conversation.heads(branch)]
    return conversation.lin(*dict.fromkeys(head.id for head in sorted(heads, key=lambda head: head.order)))


def _draw_join(drawn: Text, column: int, others: Sequence[int], width: int) -> None:
    """Draw the line that leads from other branches' columns to a message's."""
    low, high = min(column, *others), max(column, *others)
    for place in range(width):
        if place == low:
            drawn.append("├")
        elif place == high:
            drawn.append("╯" if place in others else "╮")
        else:
            drawn.append("─" if low < place < high else " ")
        drawn.append("─" if low <= place < high else " ")
    drawn.append("\n", "dim")


def _draw_row(drawn: Text, message: Message, column: int, open_columns: set[int], width: int) -> None:
    for place in range(width):
        mark = "●" if place == column else "│" if place in open_columns else " "
        drawn.append(f"{mark} ", COLOURS[place % len(COLOURS)])
    drawn.append(f"{message.id[-6:]} ", "dim")
    drawn.append(f"{message.branch} ", COLOURS[column % len(COLOURS)])
    drawn.append(f"{message.author.name or message.role}: ", "bold")
    text = " ".join(message.text.split()) or _beside_text(message)
    drawn.append(text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…")
    drawn.append("\n")


def _beside_text(message: Message) -> str:
    """Return what a message without text is made of."""
    if message.status == REDACTED:
        return "(redacted)"
    calls = [str(part.content.get("name") or "?") for part in message.parts if part.type == "tool_call"]
    if calls:
        return f"▸ {', '.join(calls)}"
    results = [part for part in message.parts if part.type == "tool_result"]
    if results:
        return "✗" if any(part.content.get("is_error") is True for part in results) else "✓"
    return f"({message.role})"
