"""``syncd serve``: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from syncd.cli.common import (
    CONTEXT_TOKENS,
    ContextOption,
    DbOption,
    JsonOption,
    config_table,
    console,
    default_name,
    print_json,
    run_async,
    web_link,
)
from syncd.cli.limits import limits_help, read_limits
from syncd.cli.toolset import NoToolsOption, ToolsOption, chosen_servers
from syncd.daemon import Ready, Settings
from syncd.daemon import serve as serve_daemon
from syncd.errors import StartError
from syncd.logs.events import LogFormat, LogLevel, start_logging
from syncd.models import LocalModel
from syncd.peers import PeerAddress

app = typer.Typer()


@app.command(epilog=limits_help())
def serve(
    called: typer.Context,
    db: DbOption,
    host: Annotated[
        str, typer.Option("--host", envvar="CONV_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", envvar="CONV_PORT", min=0, max=65535, help="The port; 0 picks a free one."),
    ] = 7878,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", "-m", envvar="CONV_MODEL", help="A GGUF file; SmolLM2 where it is installed."
        ),
    ] = None,
    context: ContextOption = CONTEXT_TOKENS,
    overflow: Annotated[
        Literal["error", "drop_oldest"],
        typer.Option(
            "--overflow",
            envvar="CONV_OVERFLOW",
            help="When a conversation is longer than the model reads: error, or drop_oldest.",
        ),
    ] = "error",
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens",
            envvar="CONV_MAX_TOKENS",
            min=0,
            help="How long an answer may be where a run does not say; 0: as long as fits.",
        ),
    ] = 2048,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            envvar="CONV_CHECKPOINTS",
            help="Where the model's state of conversations is kept.",
            show_default="in your cache",
        ),
    ] = None,
    checkpoint_mb: Annotated[
        int,
        typer.Option(
            "--checkpoint-mb", envvar="CONV_CHECKPOINT_MB", min=0, help="What it may take; 0 keeps none."
        ),
    ] = 4096,
    no_executor: Annotated[
        bool,
        typer.Option("--no-executor", envvar="CONV_NO_EXECUTOR", help="Carry updates only; answer no runs."),
    ] = False,
    no_web: Annotated[
        bool, typer.Option("--no-web", envvar="CONV_NO_WEB", help="Serve no web client at /.")
    ] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            envvar="CONV_PEER",
            metavar="URL",
            help="Another daemon to stay in sync with, as it prints itself; may be given several times. In "
            "CONV_PEER, with spaces between them, no list of processes shows a token.",
        ),
    ] = None,
    peer_token: Annotated[
        str,
        typer.Option("--peer-token", envvar="CONV_PEER_TOKEN", help="The token of peers whose URL has none."),
    ] = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="What a client may cost, as frame-bytes=64MiB; also CONV_LIMIT_FRAME_BYTES, and [limits] in "
            "the configuration. May be given several times.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            envvar="CONV_ALLOW_HOST",
            help="A name, besides localhost, under which browsers may ask for it.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            envvar="CONV_ALLOW_ORIGIN",
            help="Where pages that connect come from: https://chat.example",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", envvar="CONV_TLS_CERT", help="A certificate, PEM: encrypt with it."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", envvar="CONV_TLS_KEY", help="Its key, PEM.")
    ] = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            envvar="CONV_LOG_FORMAT",
            help="How log lines are written on standard error.",
            show_default="text on a terminal, else json",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", envvar="CONV_LOG_LEVEL", help="From where on.")
    ] = LogLevel.INFO,
    json: JsonOption = False,
) -> None:
    """
    Serve a store until Ctrl-C; a second one ends it at once.

    Examples:
        syncd serve --port 7878 --model smollm2.gguf
        syncd serve --tools clock --tools files
        CONV_PEER='https://home.example?token=T' syncd serve --limit document-bytes=64MiB
    """
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    settings = Settings(
        db,
        host,
        port,
        model,
        not no_executor,
        default_name(),
        limits=read_limits(limit or (), config_table(called, "limits")),
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        local=LocalModel(context, overflow, checkpoints, checkpoint_mb, max_tokens),
        tls=(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None,
        peers=tuple(_peer(url, peer_token) for url in peer or ()),
        tools=() if no_executor else chosen_servers(called, tools, is_off=no_tools),
        has_web=not no_web,
    )

    def announce(ready: Ready) -> None:
        if json:
            used = str(ready.model) if ready.model else None
            web = None if no_web else web_link(ready.url, ready.token)
            print_json({"url": ready.url, "token": ready.token, "model": used, "web": web})
        else:
            _print_ready(ready, db, has_web=not no_web)

    redactor = start_logging(log_format, log_level)

    async def main() -> None:
        await serve_daemon(settings, announce, keep_secret=redactor.hide)

    run_async(main, is_server=True)


def _peer(url: str, token: str) -> PeerAddress:
    try:
        return PeerAddress.parse(url, token)
    except StartError as error:
        raise typer.BadParameter(str(error), param_hint="--peer") from error


def _print_ready(ready: Ready, db: Path, *, has_web: bool) -> None:
    # On standard output, which no log is: lines of the log go to standard error, and hold no token.
    where = web_link(ready.url, ready.token) if has_web else f"{ready.url}/?token={ready.token}"
    console.print(f"[bold]crdt-conv[/] serves {escape(str(db))}", soft_wrap=True)
    console.print(f"  {where}", markup=False, soft_wrap=True)
    console.print(f"  answers with {ready.model.name}" if ready.model else f"  {ready.notice}", markup=False)
    console.print(
        f"  another device:  conv sync {ready.url} --token {ready.token} --watch",
        markup=False,
        soft_wrap=True,
    )
    console.print("  Ctrl-C ends", style="dim")
