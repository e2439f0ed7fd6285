"""
The keys that tokens are signed with: a JSON Web Key Set in a file beside the store, mode 0600.

The first key signs; all of them are good for checking, so that a new key can come before the
tokens of the old one end. A key's algorithm is the file's word, never a token's.

What signs and checks is imported with the first key: 9 MB and 50 ms, which a daemon
without keys does not pay.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from syncd.errors import StartError

if TYPE_CHECKING:
    import jwt

ALGORITHMS: Final = {"oct": "HS256", "OKP": "EdDSA"}
"""What a key of each type is used with."""


def keys_file(store: Path) -> Path:
    """Return where the keys of a store's daemon are kept."""
    return store.with_name(f"{store.name}.keys")


@dataclass(frozen=True, slots=True)
class Key:
    """One key; ``signs`` where it has its private part."""

    kid: str
    algorithm: str
    key: jwt.PyJWK
    signs: bool


def read_keys(file: Path) -> dict[str, Key]:
    """
    Return the keys of a file by their ids, the one that signs first; none where there is no file.

    Raises:
        StartError: It can't be read, or holds no keys.
    """
    try:
        found = json.loads(file.read_bytes())
        return {key.kid: key for key in map(_key, found["keys"])}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StartError(f"can't read the keys in {file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StartError(f"{file} holds no JSON Web Key Set with 'kid's: mend or remove it") from error


def _key(entry: Mapping[str, Any]) -> Key:
    algorithm = ALGORITHMS[entry["kty"]]
    if algorithm == "EdDSA" and entry["crv"] != "Ed25519":
        raise ValueError("an EdDSA key is of Ed25519")
    if algorithm == "HS256" and len(_decode(entry["k"])) < 32:
        raise ValueError("an HS256 key has 32 bytes or more")
    kid = entry["kid"]
    if not isinstance(kid, str) or not kid:
        raise ValueError("a key has an id")
    return Key(kid, algorithm, _read_jwk(dict(entry), algorithm), algorithm == "HS256" or "d" in entry)


def _read_jwk(entry: dict[str, Any], algorithm: str) -> jwt.PyJWK:
    import jwt  # noqa: PLC0415 - only for who has keys

    try:
        return jwt.PyJWK(entry, algorithm)
    except jwt.PyJWTError as error:
        raise ValueError("a key can't be read") from error


def rotate(file: Path, algorithm: str = "HS256") -> Key:
    """
    Put a new key in front of the others, which stay good for checking.

    Raises:
        StartError: The file can't be read or written.
    """
    read_keys(file)
    old = json.loads(file.read_bytes())["keys"] if file.exists() else []
    _write(file, {"keys": [_make(algorithm), *old]})
    return next(iter(read_keys(file).values()))


def remove(file: Path, kid: str) -> bool:
    """Remove a key: its tokens are no good any more. Returns whether it was there."""
    read_keys(file)
    old = json.loads(file.read_bytes())["keys"] if file.exists() else []
    kept = [entry for entry in old if entry["kid"] != kid]
    if len(kept) < len(old):
        _write(file, {"keys": kept})
    return len(kept) < len(old)


def _make(algorithm: str) -> dict[str, str]:
    kid = secrets.token_hex(8)
    if algorithm == "HS256":
        return {"kty": "oct", "kid": kid, "alg": algorithm, "k": _encode(secrets.token_bytes(32))}
    # Only for who makes such a key.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    private = Ed25519PrivateKey.generate()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": kid,
        "alg": algorithm,
        "x": _encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
        "d": _encode(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())),
    }


def _write(file: Path, content: object) -> None:
    write_private(file, json.dumps(content, indent=1) + "\n")


def write_private(file: Path, text: str) -> None:
    """
    Replace a file that only its owner may read, whole or not at all.

    Raises:
        StartError: It can't be written.
    """
    new = file.with_name(f"{file.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StartError(f"can't write {file}: {error.strerror}") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
