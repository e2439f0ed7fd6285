"""Blobs: bytes under their SHA-256, which never change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Final

import anyio
import anyio.to_thread
from starlette.responses import Response, StreamingResponse

from syncd.api.call import Call
from syncd.api.encoding import JsonResponse
from syncd.api.operations import OCTETS, Answer, Body, Operation, Parameter
from syncd.api.problems import RETRY_FULL_S, Problem, invalid
from syncd.api.schemas import ID, TEXT, ref
from syncd.auth import Right

BLOB_BYTES: Final = 64 * 1024 * 1024
MEMORY_BYTES: Final = 1024 * 1024
"""From here on a blob that comes waits in a file."""
AT_ONCE: Final = 4
"""So many blobs are held whole, on their way into the store."""
CHUNK_BYTES: Final = 64 * 1024

CONVERSATION: Final = Parameter(
    "conversation", ID, "Whose attachment it is; for who has no right in the whole server."
)
RANGE: Final = Parameter("Range", TEXT, "One range of bytes (RFC 9110).", place="header")
CACHED: Final = {"Cache-Control": "private, max-age=31536000, immutable", "Accept-Ranges": "bytes"}
# Whatever it is, a browser that is sent here runs none of it.
INERT: Final = {"Content-Security-Policy": "sandbox; default-src 'none'"}

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


async def put_blob(call: Call) -> Response:
    """Keep bytes; what no message refers to within a day is removed."""
    sha256 = _sha256(call)
    was_here = call.store.has_blob(sha256)
    digest, size = hashlib.sha256(), 0
    try:
        async with anyio.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
            async for chunk in call.chunks():
                digest.update(chunk)
                size += len(chunk)
                await file.write(chunk)
            if digest.hexdigest() != sha256:
                raise invalid("sha256", f"the bytes that came have the SHA-256 {digest.hexdigest()}")
            await file.seek(0)
            async with _limiter(call):
                await anyio.to_thread.run_sync(call.store.put_blob, await file.read())
    except OSError as error:
        retry = {"Retry-After": str(RETRY_FULL_S)}
        raise Problem(503, "the server has no room for it now", headers=retry) from error
    return JsonResponse({"sha256": sha256, "size": size}, 200 if was_here else 201)


def _limiter(call: Call) -> anyio.CapacityLimiter:
    state = call.request.app.state
    if not hasattr(state, "blobs_limiter"):
        state.blobs_limiter = anyio.CapacityLimiter(AT_ONCE)
    limiter: anyio.CapacityLimiter = state.blobs_limiter
    return limiter


async def get_blob(call: Call) -> Response:
    """Return bytes, or a range of them."""
    sha256 = _sha256(call)
    data = await _read(call, sha256)
    if data is None:
        raise Problem(404, "this blob is not here")
    request, etag = call.request, f'"{sha256}"'
    headers = {"ETag": etag, **CACHED, **INERT}
    if etag in [
        tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
    ]:
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range", "") if request.headers.get("if-range", etag) == etag else ""
    span = parse_range(asked, len(data))
    if span is None:
        return _bytes(data, 200, headers)
    if not span:
        unsatisfiable = {"Content-Range": f"bytes */{len(data)}"}
        raise Problem(416, f"it has {len(data)} bytes", headers=unsatisfiable)
    headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(data)}"
    return _bytes(data[span.start : span.stop], 206, headers)


def parse_range(header: str, size: int) -> range | None:
    """
    Return which bytes are asked for: none of them where the range is beyond the end.

    ``None`` says all of it: a server may ignore what it does not know, several ranges say.
    """
    asked = _RANGE.fullmatch(header)
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


async def _read(call: Call, sha256: str) -> bytes | None:
    conversation = call.query("conversation")
    if conversation is not None:
        graph = call.conversation(conversation).graph
        if not any(sha256 in node.blobs for node in graph):
            return None
    return await anyio.to_thread.run_sync(call.store.get_blob, sha256)


def _bytes(data: bytes, status: int, headers: dict[str, str]) -> Response:
    async def chunks() -> AsyncIterator[memoryview]:
        for start in range(0, len(data), CHUNK_BYTES):
            yield memoryview(data)[start : start + CHUNK_BYTES]

    length = {"Content-Length": str(len(data))}
    return StreamingResponse(chunks(), status, headers | length, OCTETS)


def _sha256(call: Call) -> str:
    sha256 = call.path["sha256"]
    if not _SHA256.fullmatch(sha256):
        raise invalid("sha256", "is no SHA-256 in 64 small hexadecimal digits")
    return sha256


OPERATIONS: Final = (
    Operation(
        "putBlob",
        "PUT",
        "/blobs/{sha256}",
        "Keep bytes; what no message refers to within a day is removed",
        put_blob,
        Right.WRITE,
        {201: Answer("It is on disk.", ref("Blob")), 200: Answer("It was here already.", ref("Blob"))},
        parameters=(CONVERSATION,),
        body=Body(limit_bytes=BLOB_BYTES),
    ),
    Operation(
        "getBlob",
        "GET",
        "/blobs/{sha256}",
        "Bytes, or a range of them",
        get_blob,
        Right.READ,
        {
            200: Answer("All of it.", media=OCTETS, headers={"ETag": "Its SHA-256, in quotes."}),
            206: Answer("A range.", media=OCTETS, headers={"Content-Range": "Which."}),
            304: Answer("It is as the client has it: it never changes.", media=None),
        },
        parameters=(CONVERSATION, RANGE),
        refusals=(404, 416),
    ),
)
