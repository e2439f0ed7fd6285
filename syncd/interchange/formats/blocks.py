"""Blocks of content that several programs keep as a provider's API has them."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from syncd.interchange.records import Draft, an_object, objects, words

BOUND: Final = ("fable-5-1", "fable-5-2", "mythos-5-2", "opus-5-5", "sonnet-5-5", "haiku-5-5")
"""Models whose thinking holds only behind the exact request that it was made from, which no file tells."""


def anthropic_blocks(draft: Draft, content: Any, *, model: str = "") -> None:
    """Add the content of a message of Anthropic's, but for results of tools."""
    if not isinstance(content, list):
        draft.text(content)
        return
    for block in content:
        _anthropic_block(draft, block, model)


def _anthropic_block(draft: Draft, block: Any, model: str) -> None:
    match an_object(block).get("type"):
        case "text":
            draft.text(block.get("text"))
        case "thinking":
            draft.add("reasoning", text=words(block.get("thinking")))
            seal_thinking(draft, block.get("signature"), model)
        case "redacted_thinking" if isinstance(block.get("data"), str):
            draft.add("opaque", kind="redacted_thinking")
            draft.seal(
                "anthropic", "redacted_thinking", block["data"], model=model or None, binding=_binding(model)
            )
        case "tool_use":
            draft.call(block.get("id"), block.get("name"), block.get("input"))
        case "image" | "document":
            anthropic_source(draft, block)
        case kind:
            draft.keep(words(kind) or "block", block)


def seal_thinking(draft: Draft, signature: Any, model: str) -> None:
    """Seal the signature of the reasoning that was added last."""
    if isinstance(signature, str) and signature:
        draft.seal("anthropic", "thinking", signature, model=model or None, binding=_binding(model))


def _binding(model: str) -> str:
    return "prefix" if any(name in model for name in BOUND) else "self"


def anthropic_source(draft: Draft, block: dict[str, Any]) -> None:
    """Add a picture or a document."""
    source = an_object(block.get("source"))
    mime = words(source.get("media_type")) or "application/octet-stream"
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        try:
            draft.media(base64.b64decode(source["data"], validate=True), mime)
        except binascii.Error:
            draft.keep(words(block.get("type")), block)
    elif isinstance(source.get("url"), str):
        draft.missing_media(source["url"], mime=mime)
    else:
        draft.keep(words(block.get("type")), block)


def anthropic_result(draft: Draft, block: dict[str, Any]) -> None:
    """Add the result of a tool; pictures stand behind it."""
    content = block.get("content")
    is_error = block.get("is_error") is True
    if not isinstance(content, list):
        draft.result(block.get("tool_use_id"), content if content is not None else "", is_error=is_error)
        return
    texts = [inner.get("text") for inner in objects(content) if inner.get("type") == "text"]
    draft.result(
        block.get("tool_use_id"), "\n".join(t for t in texts if isinstance(t, str)), is_error=is_error
    )
    for inner in content:
        match an_object(inner).get("type"):
            case "text":
                pass
            case "image" | "document":
                anthropic_source(draft, inner)
            case kind:
                draft.keep(words(kind) or "block", inner)


def gemini_parts(draft: Draft, content: Any) -> None:
    """Add the content of a message of Gemini's: a text, a part, or a list of them."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            draft.text(part)
        elif part:
            _gemini_part(draft, part)


def _gemini_part(draft: Draft, part: Any) -> None:
    keys = an_object(part).keys() - {"thoughtSignature"}
    if keys <= {"text", "thought"} and isinstance(an_object(part).get("text"), str):
        kind = "reasoning" if part.get("thought") is True else "text"
        if draft.text(part["text"], kind) is None and part.get("thoughtSignature"):
            draft.add("opaque", kind="text")
    elif keys == {"functionCall"} and isinstance(part["functionCall"], dict):
        call = part["functionCall"]
        draft.call(call.get("id") or call.get("name"), call.get("name"), call.get("args"))
    elif keys == {"functionResponse"} and isinstance(part["functionResponse"], dict):
        answer = part["functionResponse"]
        gemini_result(draft, answer.get("id") or answer.get("name"), [part])
    elif keys == {"inlineData"} and isinstance(part["inlineData"], dict):
        _inline(draft, part)
    elif keys == {"fileData"} and isinstance(an_object(part["fileData"]).get("fileUri"), str):
        draft.missing_media(part["fileData"]["fileUri"], mime=words(part["fileData"].get("mimeType")))
    else:
        draft.keep(next(iter(an_object(part)), "part"), part)
        return
    if isinstance(part.get("thoughtSignature"), str):
        draft.seal("gemini", "thought_signature", part["thoughtSignature"], space="gemini-api")


def gemini_result(draft: Draft, call_id: Any, parts: Any, *, is_error: bool = False) -> None:
    """Add the result of a call, a list of parts; pictures stand behind it."""
    listed = objects(parts)
    responses = [an_object(part.get("functionResponse")) for part in listed if "functionResponse" in part]
    said = [an_object(response.get("response")) for response in responses]
    texts = [answer.get("output", answer.get("error")) for answer in said]
    if len(texts) == 1 and isinstance(texts[0], str) and said[0].keys() <= {"output", "error"}:
        draft.result(call_id, texts[0], is_error=is_error or "error" in said[0])
    elif said:
        draft.result(call_id, said[0] if len(said) == 1 else said, is_error=is_error)
    else:
        draft.result(call_id, parts if parts is not None else "", is_error=is_error)
        return
    for part in (*listed, *(inner for response in responses for inner in objects(response.get("parts")))):
        if "functionResponse" not in part:
            _gemini_part(draft, part)


def _inline(draft: Draft, part: dict[str, Any]) -> None:
    inline = part["inlineData"]
    try:
        data = base64.b64decode(words(inline.get("data")), validate=True)
    except binascii.Error:
        draft.keep("inlineData", part)
    else:
        draft.media(data, words(inline.get("mimeType")) or "application/octet-stream")
