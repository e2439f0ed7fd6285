"""The real daemon with a certificate: every client over TLS, and what is said where a file is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from syncd.client import SyncClient
from syncd.client.remote import Remote
from syncd.errors import SyncTimeout
from tests.e2e.certificates import Files, make_files
from tests.e2e.programs import (
    DIALECTS,
    TOKEN,
    Daemon,
    StockClient,
    conv,
    conv_json,
    daemon,
    environment,
    heard,
    node_is_missing,
    say,
    syncd,
)
from tests.replicas import replica, texts
from tests.syncd.servers import until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Make certificates."""
    return make_files(tmp_path_factory.mktemp("tls") / "files")


@pytest.fixture
def server(tmp_path: Path, files: Files) -> Iterator[Daemon]:
    """Run a daemon that encrypts."""
    options = ("--no-executor", "--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    with daemon(tmp_path / "chats.db", *options) as running:
        yield running


@pytest.fixture
def _trusted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and what it starts, trust the authority, as a user would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(files.authority))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())
def test_stock_clients_and_commands_share_a_conversation_over_tls(server: Daemon) -> None:
    """Each dialect over wss, and commands that find the daemon by themselves."""
    assert server.url.startswith("https://127.0.0.1:")
    clients = [StockClient(dialect, server.ws, "trip") for dialect in DIALECTS]
    try:
        first = say(clients[0], "hello")
        for client in clients:
            assert heard(client, 1) == ["hello"]
        assert conv_json(server.db, "append", "trip", "from a command")["parents"] == [first]
        for client in clients:
            assert heard(client, 2)
    finally:
        for client in clients:
            client.close()
    assert server.url in syncd(server.db, "status")


@pytest.mark.anyio
@pytest.mark.usefixtures("_trusted")
async def test_the_python_client_and_the_api_speak_tls(server: Daemon) -> None:
    """What the client stores is read by https, and the other way round."""
    conversation, headers = replica(), {"Authorization": f"Bearer {TOKEN}"}
    async with SyncClient(server.url, token=TOKEN) as client:
        conversation.append("user", "hello")
        await client.sync(conversation, timeout_s=20)
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            shown = (await http.get("/api/conversations/c")).json()
            assert [message["text"] for message in shown["messages"]] == ["hello"]
            made = {"role": "user", "text": "by https"}
            (await http.post("/api/conversations/c/messages", json=made)).raise_for_status()
        await until(lambda: texts(conversation.log().messages) == ["hello", "by https"])


@pytest.mark.anyio
async def test_a_certificate_that_nobody_vouches_for_keeps_the_client_away(server: Daemon) -> None:
    """It does not connect, says why, and what it wrote waits."""
    conversation = replica()
    conversation.append("user", "hello")
    async with SyncClient(server.url, token=TOKEN) as client:
        with pytest.raises(SyncTimeout, match=r"certificate is not trusted .*: SSL_CERT_FILE"):
            await client.sync(conversation, timeout_s=3)
        assert client.status(conversation).waiting > 0
    async with Remote(server.url, TOKEN) as remote:
        with pytest.raises(SyncTimeout, match=r"certificate is not trusted .*: SSL_CERT_FILE"):
            await remote.conversations()
    # At once: a client of ours would wait for a better one.
    assert f"{server.url}: its certificate is not trusted" in conv(server.db, "new", code=1)


def serve_with(db: Path, certificate: Path, key: Path) -> str:
    """Return what a daemon says that can't start with these files."""
    command = [sys.executable, "-m", "syncd", "serve", "--db", str(db), "--port", "0", "--no-executor"]
    done = subprocess.run(
        [*command, "--tls-cert", str(certificate), "--tls-key", str(key)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("authority", "key", "the key is not that of the certificate"),
        ("certificate", "locked_key", "has a password"),
        ("key", "key", "holds no certificate"),
        ("certificate", "certificate", "holds no private key"),
    ],
)
def test_files_that_don_t_belong_together_are_an_error_that_says_so(
    tmp_path: Path, files: Files, certificate: str, key: str, says: str
) -> None:
    """The daemon does not start, and names the file and what is wrong with it."""
    said = serve_with(tmp_path / "chats.db", getattr(files, certificate), getattr(files, key))
    assert says in said
    assert getattr(files, key).name in said


def test_a_file_that_is_missing_is_named(tmp_path: Path, files: Files) -> None:
    """By its own name, not that of the other."""
    said = serve_with(tmp_path / "chats.db", files.certificate, tmp_path / "nothing.pem")
    assert f"can't read {tmp_path / 'nothing.pem'}: No such file" in said
    assert str(files.certificate) not in said
