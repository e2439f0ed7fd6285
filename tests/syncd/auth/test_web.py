"""Pages of other origins and names that are not ours get nothing, over a real socket too."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from crdt_conv import Store
from syncd.api.table import OPERATIONS
from syncd.auth.web import check_host, check_origin
from tests.syncd.servers import TOKEN, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost:7878", True),
        ("127.0.0.1:7878", True),
        ("[::1]:7878", True),
        ("LOCALHOST", True),
        ("192.168.1.7:7878", True),
        ("chat.example", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:7878", False),
        ("[::1", False),
        ("", False),
        (None, False),
    ],
)
def test_a_host_is_ours(host: str | None, is_ours: object) -> None:
    """Loopback, addresses, and names that were allowed."""
    assert check_host(host, {"chat.example"}) is is_ours


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        (None, True),
        ("http://localhost:7878", True),
        ("https://localhost:7878", True),
        ("https://chat.example", True),
        ("http://localhost:3000", False),
        ("https://evil.example", False),
        ("https://chat.example.evil", False),
        ("null", False),
        ("", False),
        ("file://", False),
        ("http://[", False),
    ],
)
def test_an_origin_is_ours(origin: str | None, is_ours: object) -> None:
    """None at all, that of the same host and port, or one that was allowed."""
    assert check_origin(origin, "localhost:7878", {"https://chat.example"}) is is_ours


@pytest.mark.parametrize("path", ["/sync/c?token=", "/collab?x="])
@pytest.mark.parametrize("header", [("Origin", "https://evil.example"), ("Host", "evil.example")])
async def test_a_page_of_another_origin_can_t_connect(
    tmp_path: Path, path: str, header: tuple[str, str]
) -> None:
    """Even with the token: it hears 4403, and nothing of the document."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store) as url:
            address = url.replace("http", "ws") + path + TOKEN.replace(" ", "+")
            name, value = header
            if name == "Origin":
                socket = connect(address, origin=value)  # type: ignore[arg-type]
            else:
                port = int(url.rpartition(":")[2])
                socket = connect(address.replace("127.0.0.1", value), host="127.0.0.1", port=port)
            async with socket as page:
                with pytest.raises(ConnectionClosed) as closed:
                    await page.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403


async def test_a_page_of_another_origin_can_t_ask(tmp_path: Path) -> None:
    """The API answers neither it nor a name that is not ours, not even its preflight."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store) as url, httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            path = f"{url}/api/conversations"
            for odd, status in (
                ({"Origin": "https://evil.example"}, 403),
                ({"Host": "evil.example"}, 421),
                ({}, 200),
                ({"Origin": url}, 200),
            ):
                assert (await client.get(path, headers=headers | odd)).status_code == status
            asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
            assert (await client.options(path, headers=asked)).status_code == 403


async def test_who_is_kept_out_is_told_as_of_every_refusal(tmp_path: Path) -> None:
    """Problem details without a type of their own have the status' own words as title (RFC 9457, 4.2.1)."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store) as url, httpx.AsyncClient(base_url=url) as client:
            for asked, status, title in (
                ({"Origin": "https://evil.example"}, 403, "Forbidden"),
                ({"Host": "evil.example"}, 421, "Misdirected Request"),
            ):
                told = (await client.get("/healthz", headers=asked)).json()
                assert (told["status"], told["title"]) == (status, title)
                assert "--allow-" in told["detail"]


async def test_a_page_of_an_allowed_origin_reads_every_header_that_the_api_describes(tmp_path: Path) -> None:
    """Answers and problems name it and what it may read; its preflight says what it may send."""
    page = {"Origin": "https://chat.example"}
    described = {
        name.lower()
        for operation in OPERATIONS
        for answer in operation.answers.values()
        for name in answer.headers
    }
    with Store(tmp_path / "chats.db") as store:
        async with (
            serving(store, origins=["https://chat.example"]) as url,
            httpx.AsyncClient(base_url=url, headers=page) as client,
        ):
            for path in ("/api/conversations", "/openapi.json"):
                answer = await client.get(path)
                assert answer.headers["access-control-allow-origin"] == page["Origin"]
                exposed = set(answer.headers["access-control-expose-headers"].split(", "))
                assert described | {"retry-after", "www-authenticate"} <= exposed
            asked = await client.options(path, headers={"Access-Control-Request-Method": "PUT"})
            assert "PUT" in asked.headers["access-control-allow-methods"]
            assert "range" in asked.headers["access-control-allow-headers"]
