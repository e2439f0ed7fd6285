"""
Throwing the stored index away, however damaged its pages are.

SQLite frees the pages of a table by what stands on them. A page of rubbish, or
one that belongs elsewhere, would have it free pages of the log. So nothing is
freed here: the tables are struck out of the schema, the file is written anew
without them (``VACUUM``), and they are made again. A setting says that this is
under way, and whoever opens the file next ends what a crash left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crdt_conv.errors import StoreCorrupt
from crdt_conv.store.sqlite.migrations import INDEX

if TYPE_CHECKING:
    from crdt_conv.store.sqlite.connection import Connection

_KEY: Final = "index thrown away"


def is_log_sound(connection: Connection) -> bool:
    """Whether every table that is not derived can be read from its first page to its last."""
    tables = connection.rows(
        "select distinct tbl_name from sqlite_schema where type = 'table' and not"
        " (tbl_name in ('indexes', 'messages', 'pages', 'found') or tbl_name glob 'found_*')"
    )
    try:
        return all(
            connection.rows("select * from pragma_quick_check(?)", table) == [("ok",)] for (table,) in tables
        )
    except StoreCorrupt:
        return False


def throw_away(connection: Connection) -> None:
    """
    Throw the stored index away, and make its tables again, empty.

    Raises:
        StoreCorrupt: More than the index is damaged; nothing was done.
        StoreError: The file can't be written; the index is gone, and made when the file is opened next.
    """
    if not is_log_sound(connection):
        raise StoreCorrupt(
            f"{connection.path}: more than the stored index is damaged; Store.check() says what,"
            " and crdt_conv.recover() saves the rest in a new file"
        )
    with connection.lock:
        with connection.writing() as execute:
            execute("insert or replace into settings values (?, '1')", (_KEY,))
            execute("pragma writable_schema = on")
            execute(
                "delete from sqlite_schema where"
                " tbl_name in ('indexes', 'messages', 'pages', 'found') or tbl_name glob 'found_*'"
            )
        connection.run("pragma writable_schema = reset")
        make_again(connection)


def make_again(connection: Connection) -> None:
    """
    Make the tables of an index that was thrown away, if it was.

    Raises:
        StoreError: The file can't be written.
    """
    if not connection.rows("select 1 from settings where key = ?", _KEY):
        return
    connection.run("vacuum")
    with connection.writing() as execute:
        for statement in INDEX:
            execute(statement)
        execute("delete from settings where key = ?", (_KEY,))
