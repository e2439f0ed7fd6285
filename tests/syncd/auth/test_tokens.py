"""Tokens: what they say, what makes them no good, and that no rubbish gets in or breaks anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.auth import AccessDenied, AnyOf, CallableGate, Credentials, Grant, JwtGate, Right, TokenGate
from syncd.auth.keys import read_keys, remove, rotate
from syncd.auth.tokens import issue, rights_for
from syncd.errors import StartError

pytestmark = pytest.mark.anyio

NOW_S = 1_800_000_000.0


class Server:
    """Keys, revocations, and a gate on them, at a time that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.revoked = folder / "revoked"
        self.now_s = NOW_S
        rotate(self.keys)
        self.gate = JwtGate(self.keys, self.revoked, clock=lambda: self.now_s)

    def token(self, subject: str = "ann", lifetime_s: float = 60, **rights: list[str]) -> str:
        key = next(iter(read_keys(self.keys).values()))
        return issue(key, subject, rights or {"*": ["read"]}, now_s=self.now_s, lifetime_s=lifetime_s)

    def claims(self, **claims: Any) -> str:
        """Return a token of odd claims, well signed."""
        key = next(iter(read_keys(self.keys).values()))
        return jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.kid})

    async def admit(self, token: str | None, conversation: str | None = "c") -> Grant:
        return await self.gate.admit(Credentials(token), conversation)

    async def refusal(self, token: str | None, conversation: str | None = "c") -> AccessDenied:
        with pytest.raises(AccessDenied) as denied:
            await self.admit(token, conversation)
        assert not token or len(token) < 30 or token not in denied.value.reason
        return denied.value


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Return keys and a gate."""
    return Server(tmp_path)


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
async def test_a_token_lets_in_with_its_rights(server: Server, algorithm: str) -> None:
    """Who shows it is who it names, may do what it says, and until when."""
    rotate(server.keys, algorithm)
    server.gate.poll()
    grant = await server.admit(server.token(c=["write"]))
    assert (grant.subject, grant.expires_s) == ("ann", NOW_S + 60)
    assert [grant.may(right) for right in Right] == [True, True, False, False]


@pytest.mark.parametrize(
    ("rights", "conversation", "granted"),
    [
        ({"*": ["read"]}, "c", {"read"}),
        ({"*": ["read"]}, None, {"read"}),
        ({"c": ["read"]}, None, set()),
        ({"c": ["write"], "*": ["read"]}, "c", {"write"}),
        ({"*": ["read"], "c": []}, "c", set()),
        ({"trip-*": ["run"], "t*": ["read"]}, "trip-1", {"run"}),
        ({"trip-*": ["run"]}, "trip", set()),
        ({"c": "read"}, "c", set()),
        ({"c": ["fly", 3, None, ["read"]]}, "c", set()),
        (["read"], "c", set()),
        (None, "c", set()),
    ],
)
def test_the_most_exact_entry_counts(rights: object, conversation: str | None, granted: set[str]) -> None:
    """The whole id, then the longest beginning, then all; what is odd gives nothing."""
    assert rights_for(rights, conversation) == granted


async def test_a_token_ends(server: Server) -> None:
    """After its end, and a little for the clocks, nobody gets in with it."""
    token = server.token(lifetime_s=60)
    server.now_s += 65
    assert (await server.admit(token)).subject
    server.now_s += 6
    assert (await server.refusal(token)).code == 4401


async def test_a_right_that_is_missing_is_another_refusal(server: Server) -> None:
    """A good token without the right is told so: 4403, not 4401."""
    assert (await server.refusal(server.token(other=["read"]))).code == 4403


async def test_keys_rotate(server: Server) -> None:
    """Tokens of an older key stay good; with the key they go."""
    old = server.token()
    first = next(iter(read_keys(server.keys)))
    rotate(server.keys, "EdDSA")
    server.gate.poll()
    assert (await server.admit(old)).subject
    assert (await server.admit(server.token())).subject
    remove(server.keys, first)
    server.gate.poll()
    assert "no key" in (await server.refusal(old)).reason


async def test_what_is_revoked_is_no_good_at_once(server: Server) -> None:
    """All that somebody had is gone, what they get afterwards is good; everybody is asked again."""
    asked: list[None] = []
    stop = server.gate.watch(lambda: asked.append(None))
    token, other = server.token(), server.token("bob")
    server.gate.revoke(subject="ann")
    assert (await server.refusal(token)).code == 4401
    assert (await server.admit(other)).subject
    server.now_s += 1
    assert (await server.admit(server.token())).subject
    one = server.token("bob")
    server.gate.revoke(token_id=jwt.decode(one, options={"verify_signature": False})["jti"])
    assert (await server.refusal(one)).code == 4401
    assert (await server.admit(other)).subject
    assert len(asked) == 2
    stop()


async def test_another_program_s_revocation_is_noticed(server: Server) -> None:
    """The file is read again when it changes, and those who are in are asked again."""
    asked: list[None] = []
    server.gate.watch(lambda: asked.append(None))
    token = server.token()
    JwtGate(server.keys, server.revoked, clock=lambda: server.now_s).revoke(subject="ann")
    server.gate.poll()
    assert (await server.refusal(token)).reason
    assert len(asked) == 1


async def test_another_algorithm_than_the_key_s_gets_nobody_in(server: Server) -> None:
    """Neither "none" nor a token that takes our public key for a secret."""
    rotate(server.keys, "EdDSA")
    server.gate.poll()
    entry = json.loads(server.keys.read_text())["keys"][0]
    claims = {"sub": "eve", "exp": NOW_S + 60, "rights": {"*": ["admin"]}}
    header = {"kid": entry["kid"]}
    public = entry["x"].ljust(64, "=").encode()
    for forged in (
        jwt.encode(claims, "", algorithm="none", headers=header),
        jwt.encode(claims, public, algorithm="HS256", headers=header),
    ):
        assert (await server.refusal(forged)).code == 4401


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": "ann"},
        {"exp": NOW_S + 60},
        {"sub": 3, "exp": NOW_S + 60},
        {"sub": "ann", "exp": "soon"},
        {"sub": "ann", "exp": [1]},
        {"sub": "ann", "exp": 1e400},
        {"sub": "ann", "exp": NOW_S + 60, "nbf": NOW_S + 30, "rights": {"*": ["read"]}},
        {"sub": "ann", "exp": NOW_S + 60, "iat": NOW_S + 30, "rights": {"*": ["read"]}},
        {"sub": "ann", "exp": NOW_S + 60, "iat": {}, "rights": {"*": ["read"]}},
        {"sub": "ann", "exp": NOW_S + 60, "jti": [], "rights": {}},
    ],
)
async def test_odd_claims_get_nobody_in(server: Server, claims: dict[str, Any]) -> None:
    """Well signed, and still no good."""
    assert (await server.refusal(server.claims(**claims))).reason


@given(token=st.one_of(st.text(max_size=60), st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}")))
async def test_rubbish_is_refused_and_breaks_nothing(
    token: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is shown for a token: an answer, and it is no."""
    server = Server(tmp_path_factory.mktemp("keys"))
    assert (await server.refusal(token)).code == 4401


async def test_a_token_that_is_too_long_is_not_read(server: Server) -> None:
    """A megabyte costs nothing."""
    assert "too long" in (await server.refusal("e" * 1_000_000)).reason


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"keys": [{"kty": "oct", "k": "YQ", "kid": "1"}]}', "[" * 9999]
)
def test_a_file_without_keys_is_an_error_that_says_so(tmp_path: Path, content: str) -> None:
    """A daemon does not start on keys that it can't read."""
    (tmp_path / "keys").write_text(content)
    with pytest.raises(StartError, match="keys"):
        JwtGate(tmp_path / "keys", tmp_path / "revoked")


def test_only_the_owner_reads_keys(tmp_path: Path) -> None:
    """The file is for its owner alone, from the first moment, and after another key."""
    for _ in range(2):
        rotate(tmp_path / "keys")
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


async def test_an_application_s_function_decides() -> None:
    """It may answer with rights, a grant or nothing, now or later; where it fails nobody gets in."""

    async def later(credentials: Credentials, conversation: str | None) -> set[Right] | None:
        if credentials.token == "broken":
            raise KeyError(credentials.token)
        return {Right.WRITE} if conversation == credentials.token else None

    gate = CallableGate(later)
    assert (await gate.admit(Credentials("c"), "c")).may(Right.READ)
    for token, conversation in (("c", "d"), ("broken", "c"), (None, "c")):
        with pytest.raises(AccessDenied) as denied:
            await gate.admit(Credentials(token), conversation)
        assert "broken" not in denied.value.reason


async def test_one_of_several_gates_is_enough(server: Server) -> None:
    """The daemon's own token and tokens of people work side by side; the most telling refusal is told."""
    gate = AnyOf(TokenGate("secret"), server.gate)
    assert (await gate.admit(Credentials("secret"), None)).may(Right.ADMIN)
    assert not (await gate.admit(Credentials(server.token()), None)).may(Right.WRITE)
    with pytest.raises(AccessDenied) as denied:
        await gate.admit(Credentials(server.token(x=["read"])), "c")
    assert denied.value.code == 4403
    server.gate.revoke(subject="ann")
    with pytest.raises(AccessDenied, match="revoked"):
        await gate.admit(Credentials(server.token()), "c")
