"""``conv explain``: what would be sent to a model, and why, before it is sent."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Any

import typer
from rich.markup import escape
from rich.tree import Tree

from adapters.explaining import explain as explain_request
from crdt_conv import MAIN, Target
from syncd.cli.common import DbOption, JsonOption, console, print_json
from syncd.cli.look import BranchOption, IdArgument
from syncd.cli.running import AdapterOption, EndpointOption, ModelOption
from syncd.cli.toolset import NoToolsOption, ToolsOption, offered
from syncd.cli.workspace import find, reading
from syncd.models import LOCAL, adapter_of
from syncd.tools import tools_of

LONGEST = 100


def explain(
    context: typer.Context,
    conversation_id: IdArgument,
    db: DbOption,
    adapter: AdapterOption = LOCAL,
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    branch: BranchOption = MAIN,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    json: JsonOption = False,
) -> None:
    """
    Show what would be sent to a model for a branch, and why. Nothing is sent to it, and no key is needed.

    The tools of the configuration's MCP servers are asked for, or the daemon that holds the store.

    Examples:
        conv explain 01J9 --adapter openai-chat --model gpt-5.6
        conv explain 01J9 --no-tools --json
    """
    listed = offered(context, db, tools, is_off=no_tools)
    target = Target(adapter, model, endpoint)
    with reading(db) as store:
        conversation = store.open(find(store, conversation_id))
        shown = explain_request(adapter_of(target), conversation, target, branch, tools_of(listed)).as_json()
    if json:
        print_json(shown)
    else:
        console.print(explanation_tree(shown))


def explanation_tree(shown: Mapping[str, Any]) -> Tree:
    """Return an explanation for people."""
    request = shown["request"]
    tree = Tree(
        f"[bold]{escape(shown['adapter'])}[/] {escape(shown['model'])}  "
        f"[dim]{request['method']} {escape(request['path'])}  {request['bytes']:,} bytes[/]"
    )
    sent = tree.add(f"[bold]sent[/]: {shown['messages']} messages of {escape(shown['branch'])}")
    body = request["body"] or {}
    for key, value in body.items():
        _add_value(sent, key, value)
    _add(tree, "tools that may be called", [f"[cyan]{escape(name)}[/]" for name in shown["tools"]])
    _add(tree, "hidden fields that go along", [_hidden(field) for field in shown["hidden"]])
    _add(tree, "left out", [_note(note) for note in shown["left_out"]])
    _add(tree, "changed", [_note(note) for note in shown["repairs"]])
    _add(
        tree, "used again", [f"{escape(key)}: {escape(str(value))}" for key, value in shown["reused"].items()]
    )
    tree.add(f"[dim]log {shown['log'][:12]}  request {request['digest'][:12]}[/]")
    return tree


def _add_value(tree: Tree, key: str, value: Any) -> None:
    if not isinstance(value, list):
        tree.add(f"{escape(key)}: {_short(value)}")
        return
    items = tree.add(f"{escape(key)}: {len(value)}")
    for item in value:
        is_message = isinstance(item, dict) and isinstance(item.get("role"), str)
        content = item.get("content", item.get("parts")) if is_message else item
        items.add(f"[cyan]{escape(item['role'])}[/] {_short(content)}" if is_message else _short(value=item))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return escape(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…")


def _add(tree: Tree, what: str, lines: list[str]) -> None:
    if not lines:
        tree.add(f"{what}: [dim]nothing[/]")
        return
    branch = tree.add(f"{what}: {len(lines)}")
    for line in lines:
        branch.add(line)


def _note(note: Mapping[str, str]) -> str:
    return f"[dim]{escape(note['about'])}[/] {escape(note['reason'])}"


def _hidden(field: Mapping[str, Any]) -> str:
    return f"{escape(field['kind'])} of {escape(field['space'])} [dim]{escape(field['message'])}[/]"
