"""``syncd token``, ``syncd revoke`` and ``syncd rotate``: who gets in."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from syncd.auth import Right, keys_file, load_token, revocations_file
from syncd.auth.keys import read_keys, rotate
from syncd.auth.revocations import Revocations
from syncd.auth.tokens import issue
from syncd.cli.common import DbOption, JsonOption, print_json, published_url, web_link

app = typer.Typer()

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command()
def token(
    db: DbOption,
    subject: Annotated[str, typer.Option("--sub", help="Whose token; the daemon's own, if left out.")] = "",
    right: Annotated[
        list[str] | None,
        typer.Option("--right", help="CONVERSATION=read,write,run,admin; 'trip-*' or '*' for several."),
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="For how long: 90s, 15m, 12h, 30d.")] = "30d",
    eddsa: Annotated[bool, typer.Option("--eddsa", help="Where a first key is made: Ed25519.")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="As an address that signs a browser in, at the daemon that runs.")
    ] = False,
    at: Annotated[
        str,
        typer.Option("--at", metavar="URL", help="The same, where browsers reach the daemon by another URL."),
    ] = "",
    json: JsonOption = False,
) -> None:
    """
    Print the daemon's token, or make one for somebody, with rights and an end.

    Examples:
        syncd token --sub ann --right '*=read' --right 'trip-*=write,run' --expires 7d
        syncd token --sub phone --link
    """
    if right and not subject:
        raise typer.BadParameter("say whose token it is: --sub", param_hint="--right")
    # Before a token is made: without a daemon there would be nobody to show it to.
    where = _address(at or published_url(db)) if link or at else None
    given = _issue(db, subject, right, expires, eddsa=eddsa) if subject else load_token(db)
    _print({"link": web_link(where, given)} if where is not None else {"token": given}, is_json=json)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise typer.BadParameter(f"{url!r} is not like https://chat.example", param_hint="--at")
    return url


def _issue(db: Path, subject: str, right: list[str] | None, expires: str, *, eddsa: bool) -> str:
    rights = dict(map(_right, right or ["*=read,write,run"]))
    file = keys_file(db)
    key = next((key for key in read_keys(file).values() if key.signs), None)
    key = key or rotate(file, "EdDSA" if eddsa else "HS256")
    return issue(key, subject, rights, now_s=time.time(), lifetime_s=_seconds(expires))


def _print(told: Mapping[str, str], *, is_json: bool) -> None:
    """Print what was made: for people its value alone."""
    if is_json:
        print_json(told)
    else:
        typer.echo(next(iter(told.values())))


def _right(text: str) -> tuple[str, list[str]]:
    conversation, is_said, rights = text.rpartition("=")
    given = [name.strip() for name in rights.split(",") if name.strip()]
    if not is_said or not conversation or not set(given) <= set(Right):
        raise typer.BadParameter(f"{text!r} is not like 'trip-*=read,write'", param_hint="--right")
    return conversation, given


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not like 90s, 15m, 12h or 30d", param_hint="--expires")
    return int(found[1]) * _UNITS[found[2]]


@app.command()
def revoke(
    db: DbOption,
    subject: Annotated[str, typer.Option("--sub", help="Everything that this one was given until now.")] = "",
    token_id: Annotated[str, typer.Option("--jti", help="One token, by its 'jti'.")] = "",
    json: JsonOption = False,
) -> None:
    """
    Make tokens no good; a daemon that runs closes their sockets within seconds.

    Examples:
        syncd revoke --sub ann
    """
    if not subject and not token_id:
        raise typer.BadParameter("say whose or which: --sub or --jti")
    revocations = Revocations(revocations_file(db))
    if subject:
        revocations.revoke_subject(subject, time.time())
    if token_id:
        revocations.revoke_token(token_id, time.time())
    if json:
        print_json({"sub": subject or None, "jti": token_id or None})
    else:
        typer.echo(f"revoked: {subject or token_id}")


@app.command(name="rotate")
def rotate_keys(
    db: DbOption,
    eddsa: Annotated[
        bool, typer.Option("--eddsa", help="An Ed25519 key, whose public part may be shown.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """
    Sign with a new key from now on; tokens of older keys stay good until they end.

    Examples:
        syncd rotate --eddsa
    """
    _print({"kid": rotate(keys_file(db), "EdDSA" if eddsa else "HS256").kid}, is_json=json)
