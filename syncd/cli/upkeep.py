"""
``syncd compact``, ``backup``, ``check`` and ``recover``: the upkeep of a store.

What only reads is done on the file, beside whoever writes. Compaction writes: where a daemon holds the
store it is asked to do it, over HTTP, and tells how far it is.
"""

from __future__ import annotations

import json as json_lines
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.markup import escape
from rich.table import Table

from crdt_conv import Store, StoreLocked, recover
from crdt_conv.store.damage import Damage
from syncd.auth import read_token
from syncd.cli.common import DbOption, JsonOption, console, counted, errors, print_json
from syncd.cli.progress import bar, size
from syncd.errors import StartError
from syncd.view import compaction_json

app = typer.Typer()

CONNECT_S: Final = 5.0
NOTHING_TO_DO: Final = "there is nothing behind the snapshot"

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The new file; it must not be there.")]


@app.command()
def compact(db: DbOption, json: JsonOption = False) -> None:
    """
    Replace logs by snapshots, remove unused attachments, and erase what was redacted or deleted.

    Happens by itself when a log has grown: never needed, but it tells when the bytes are gone. Where a
    daemon holds the store, the daemon does it. Ctrl-C ends it between two conversations.

    Examples:
        syncd compact --db chats.db
    """
    before = _taken(db)
    done: Sequence[Mapping[str, Any]]
    with bar("compacting") as progress:
        try:
            with Store(db, program="syncd compact") as store:
                done = [compaction_json(each) for each in store.compact(progress=progress)]
        except StoreLocked as locked:
            if locked.owner is None or not locked.owner.url:
                raise
            done = _ask(locked.owner.url, read_token(db) or "", progress)
    file = {"before": before, "after": _taken(db)}
    if json:
        print_json({"conversations": done, "file": file})
        return
    compacted = sum(not each["reason"] for each in done)
    console.print(
        f"compacted {compacted} of {counted(len(done), 'conversation')}: "
        f"{size(file['before'])} before, {size(file['after'])} now"
    )
    for reason, count in Counter(each["reason"] for each in done).items():
        if reason not in {"", NOTHING_TO_DO}:
            console.print(f"  {count} as they were: {reason}")


def _taken(db: Path) -> int:
    """Return the bytes of a store's file and its write-ahead log."""
    files = (db, db.with_name(f"{db.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _ask(url: str, token: str, progress: Any) -> Sequence[Mapping[str, Any]]:
    """Have a daemon do it; raises ``StartError`` where it does not."""
    headers = {"Authorization": f"Bearer {token}"}
    told: Mapping[str, Any] = {}
    try:
        # A long conversation takes its time: Ctrl-C ends the waiting, and with it the work.
        timeout = httpx.Timeout(CONNECT_S, read=None)
        with httpx.stream("POST", f"{url}/api/admin/compact", headers=headers, timeout=timeout) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise StartError(f"the daemon at {url} says {_detail(answer)}")
            for line in answer.iter_lines():
                told = json_lines.loads(line)
                if "done" in told:
                    progress(told["done"], told["total"])
    except httpx.HTTPError as error:
        raise StartError(f"the daemon at {url} does not answer ({type(error).__name__})") from error
    if "conversations" not in told:
        why = told.get("problem", {}).get("detail", "it was interrupted")
        raise StartError(f"the daemon at {url}: {why}")
    conversations: Sequence[Mapping[str, Any]] = told["conversations"]
    return conversations


def _detail(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code}: {answer.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


@app.command()
def backup(file: FileArgument, db: DbOption, json: JsonOption = False) -> None:
    """
    Copy the whole store as it is now into a new file, also while a daemon writes to it.

    There is nothing under the new name before the copy is complete and on disk; Ctrl-C leaves nothing.
    Keep the files beside the store, '.keys', '.revoked' and '.token', with the copy.

    Examples:
        syncd backup /backups/chats-monday.db
    """
    with bar("copying pages") as progress, Store(db, read_only=True) as store:
        store.backup(file, progress)
    if json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        console.print(f"{escape(str(file))}: {size(file.stat().st_size)}, a whole store", soft_wrap=True)


@app.command()
def check(
    db: DbOption,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Make damaged indexes anew; no daemon may hold the store.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """
    Read every byte of the store, also while a daemon writes to it, and say what is damaged.

    Nothing is changed, unless by --reindex. The exit code is 1 where something is damaged, or was.

    Examples:
        syncd check --db chats.db --json
    """
    with bar("checking") as progress, Store(db, read_only=True) as store:
        damage = store.check(progress)
        count = len(store.list()) if not any(each.what == "file" for each in damage) else 0
    is_mended = reindex and any(each.what == "index" for each in damage)
    if is_mended:
        _reindex(db)
    if json:
        print_json({"ok": not damage, "damage": [asdict(each) for each in damage], "reindexed": is_mended})
    elif damage:
        _print_damage(damage)
        _print_advice(damage, db, is_mended=is_mended)
    else:
        console.print(f"{escape(str(db))}: whole, {counted(count, 'conversation')}", soft_wrap=True)
    if damage:
        raise typer.Exit(1)


def _reindex(db: Path) -> None:
    with bar("making indexes anew") as progress, Store(db, program="syncd check --reindex") as store:
        store.clear_index()
        store.reindex(progress)


def _print_damage(damage: Sequence[Damage]) -> None:
    table = Table("what", "conversation", "key", "", box=None, header_style="dim")
    for each in damage:
        table.add_row(each.what, *map(escape, (each.conversation or "", each.key, each.text)))
    console.print(table)


def _print_advice(damage: Sequence[Damage], db: Path, *, is_mended: bool) -> None:
    kinds = {each.what for each in damage}
    if "index" in kinds and not is_mended:
        errors.print("indexes are derived: 'syncd check --reindex' makes them anew", style="dim")
    if kinds - {"index", "list"}:
        text = f"'syncd recover NEW.db --db {db}' writes all that can be read into a new store"
        errors.print(text, style="dim", markup=False, soft_wrap=True)


@app.command(name="recover")
def recover_store(file: FileArgument, db: DbOption, json: JsonOption = False) -> None:
    """
    Write all that a damaged store still has into a new one, and say what is lost.

    The damaged file is only read; end its daemon before. The exit code is 1 where something is lost.

    Examples:
        syncd recover rescued.db --db damaged.db
    """
    with bar("reading pages") as progress:
        recovery = recover(db, file, progress)
    if json:
        lost = [asdict(each) for each in recovery.lost]
        print_json({"file": str(file), "recovered": dict(recovery.recovered), "lost": lost})
    else:
        found = ", ".join(f"{count} {name}" for name, count in recovery.recovered.items() if count)
        console.print(f"{escape(str(file))}: {found}", soft_wrap=True)
        if recovery.lost:
            _print_damage(recovery.lost)
    if recovery.lost:
        raise typer.Exit(1)
