"""``conv import`` and ``conv export``: other programs' conversations, in and out."""

from __future__ import annotations

import json as json_text
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, assert_never

import anyio.lowlevel
import typer
from rich.markup import escape

from crdt_conv import MAIN, Conversation, ConversationDeleted, CrdtConvError, MalformedUpdate, UsageError
from syncd.cli.common import (
    DbOption,
    JsonOption,
    console,
    errors,
    listing,
    print_json,
    print_lines,
    run_async,
)
from syncd.cli.look import BranchOption, IdArgument
from syncd.cli.progress import bar
from syncd.cli.workspace import Workspace, find, reading, writing
from syncd.errors import StartError
from syncd.interchange import (
    Findings,
    Found,
    ImportRefused,
    Written,
    chat_line,
    conversations,
    encode_conversation,
    id_of,
    markdown,
    put_in,
)

SUFFIXES = {".json", ".jsonl", ".db", ".zip", ".ydoc", ".gz", ".zst"}

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…", exists=True, help="Files, or folders in which all of them are looked at."
    ),
]


@dataclass
class _Outcome:
    """What became of all files."""

    written: list[Written] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    refused: dict[str, str] = field(default_factory=dict)


def import_files(files: FilesArgument, db: DbOption, json: JsonOption = False) -> None:
    """
    Take in conversations of other programs, with their branches, tool calls and attachments.

    ChatGPT's and Claude's exports (zip or JSON), Claude Code, Codex, Gemini CLI and pi sessions, LibreChat,
    Open-Assistant trees, llm's logs.db, ShareGPT, chat JSON, and what 'conv export' wrote. What a file is
    is told by what is in it. Importing it again adds only what is new, also after Ctrl-C, which ends
    it between two conversations. Ends with 1 where a file was refused.

    Examples:
        conv import export.zip ~/.claude/projects
    """
    outcome = _Outcome()
    sizes = {file: file.stat().st_size for file in _files(files)}
    named = set(files)

    async def main() -> None:
        async with writing(db) as workspace:
            for file, size in sizes.items():
                await _import_file(workspace, file, size, outcome, is_named=file in named)

    run_async(main)
    if json:
        print_json(_as_json(outcome))
    else:
        _print(outcome)
    if outcome.refused:
        raise typer.Exit(1)


def _files(given: list[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        else:
            yield path


async def _import_file(
    workspace: Workspace, file: Path, size: int, outcome: _Outcome, *, is_named: bool
) -> None:
    try:
        with bar(f"importing {file.name}", of_bytes=True) as progress:
            for found in conversations(file, outcome.findings, lambda read: progress(min(read, size), size)):
                await _import_one(workspace, file, found, outcome)
                # Where no daemon holds the store nothing else waits: Ctrl-C is heard between two.
                await anyio.lowlevel.checkpoint()
    except ImportRefused as error:
        if is_named:
            outcome.refused[str(file)] = str(error)
        else:
            outcome.findings.leave_out(f"a {file.suffix} file that is no conversation")
    except (CrdtConvError, OSError) as error:
        outcome.refused[str(file)] = str(error)


async def _import_one(workspace: Workspace, file: Path, found: Found, outcome: _Outcome) -> None:
    """Write one conversation; one that can't be keeps no other of the file out."""
    conversation_id = id_of(found)
    name = f"{file}: {conversation_id or 'a conversation without an id'}"
    try:
        conversation = await workspace.enter(conversation_id)
        written = put_in(conversation, found, outcome.findings)
        await workspace.settle(conversation)
    except ConversationDeleted as error:
        outcome.refused[name] = f"{error}: it is not imported again"
    except (ImportRefused, MalformedUpdate, UsageError) as error:
        outcome.refused[name] = str(error)
    else:
        if written.messages or len(conversation):
            outcome.written.append(written)


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    return {
        "conversations": [
            {
                "id": w.id,
                "title": w.title,
                "program": w.program,
                "messages": w.messages,
                "branches": w.branches,
            }
            for w in outcome.written
        ],
        "unknown": dict(outcome.findings.unknown.most_common()),
        "left_out": dict(outcome.findings.left_out.most_common()),
        "damaged": dict(outcome.findings.damaged.most_common()),
        "refused": outcome.refused,
    }


def _print(outcome: _Outcome) -> None:
    table = listing("id", "from", "new messages", "branches", "title")
    for written in outcome.written:
        new, branches = str(written.messages), str(written.branches)
        table.add_row(written.id, written.program, new, branches, escape(written.title))
    if outcome.written:
        print_lines(table)
    _print_counts("not understood, and kept", outcome.findings.unknown)
    _print_counts("no part of a conversation", outcome.findings.left_out)
    _print_counts("not there, or not whole", outcome.findings.damaged)
    for file, reason in outcome.refused.items():
        errors.print(f"error: {file}: {reason}", style="red", markup=False, soft_wrap=True)


def _print_counts(what: str, counts: Counter[str]) -> None:
    if counts:
        listed = ", ".join(f"{name} ({count})" for name, count in counts.most_common(12))
        more = f", and {len(counts) - 12} more" if len(counts) > 12 else ""
        console.print(f"[dim]{what}: {escape(listed)}{more}[/]")


class Format(StrEnum):
    """What ``conv export`` writes."""

    JSON = "json"
    MARKDOWN = "markdown"
    JSONL = "jsonl"
    YDOC = "ydoc"


def export(
    conversation_id: IdArgument,
    db: DbOption,
    to: Annotated[
        Format,
        typer.Option("--format", "-f", help="json is lossless; jsonl is for fine-tuning; ydoc is Yjs."),
    ] = Format.JSON,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; standard output, where it is left out.")
    ] = None,
    branch: BranchOption = MAIN,
) -> None:
    """
    Write a conversation for other programs, or for people.

    json holds all branches, hidden fields and attachments, and 'conv import' gives the same digests;
    markdown and jsonl hold one branch; ydoc is the encoded document for any Yjs program.

    Examples:
        conv export 01J9 --format markdown --output trip.md
    """
    with reading(db) as store:
        data = encoded(store.open(find(store, conversation_id)), to, branch)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    # A file that is there already is not ours to lose.
    try:
        with output.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise StartError(f"{output} is there already: name a new file") from error
    errors.print(f"wrote {output}", style="dim", markup=False)


def encoded(conversation: Conversation, to: Format, branch: str) -> bytes:
    """Return a conversation in a format; markdown and jsonl hold one branch."""
    match to:
        case Format.JSON:
            whole = encode_conversation(conversation)
            return json_text.dumps(whole, ensure_ascii=False, indent=1).encode() + b"\n"
        case Format.MARKDOWN:
            return markdown(conversation, branch).encode()
        case Format.JSONL:
            return chat_line(conversation, branch).encode()
        case Format.YDOC:
            return conversation.encode()
        case _:
            assert_never(to)
