"""
A strict server of Gemini's ``streamGenerateContent``. Built from facts 4.1 and 12.

It asks for a signature of its own on the first call of each step of the current turn, and for a
response to every call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.gemini.kinds import DUMMY
from tests.providers.serving import Answer, Provider, Refusal, pieces

TURN = (
    "Please ensure that function call turn comes immediately after a user turn "
    "or after a function response turn."
)
COUNT = (
    "Please ensure that the number of function response parts is equal to the number of function call parts "
    "of the function call turn."
)


class GeminiServer(Provider):
    """One server of generateContent; its signatures are its own."""

    paths = ("/models/{model}",)

    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        if "x-goog-api-key" not in headers:
            return refuse("API key not valid.", status=401, word="UNAUTHENTICATED")
        problem = next(self._problems(body["contents"]), None)
        return refuse(problem) if problem else None

    def _problems(self, contents: list[dict[str, Any]]) -> Iterator[str]:
        if not contents or contents[-1]["role"] != "user":
            yield "Please ensure that the last content is the user's."
            return
        for at, content in enumerate(contents):
            if not content["parts"]:
                yield f"* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty."
            calls = [part for part in content["parts"] if "functionCall" in part]
            if calls and (at == 0 or contents[at - 1]["role"] == "model"):
                yield TURN
            answers = [p for p in contents[at + 1]["parts"] if "functionResponse" in p] if calls else []
            if len(answers) != len(calls):
                yield COUNT
        yield from self._signature_problems(contents)

    def _signature_problems(self, contents: list[dict[str, Any]]) -> Iterator[str]:
        said = [
            at
            for at, c in enumerate(contents)
            if c["role"] == "user" and "functionResponse" not in c["parts"][0]
        ]
        for at, content in enumerate(contents):
            signed = [part["thoughtSignature"] for part in content["parts"] if "thoughtSignature" in part]
            if any(signature != DUMMY and not signature.startswith("c2lnbmVk") for signature in signed):
                yield "Corrupted thought signature."
            first = next((part for part in content["parts"] if "functionCall" in part), None)
            if first is not None and at > said[-1] and "thoughtSignature" not in first:
                yield "Function call is missing a thought_signature in functionCall parts."

    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in pieces(answer.reasoning)]
        parts += [{"text": piece} for piece in pieces(answer.text)]
        for at, (name, arguments) in enumerate(answer.calls):
            signed = {"thoughtSignature": "c2lnbmVk"} if at == 0 else {}
            parts.append({"functionCall": {"name": name, "args": json.loads(arguments)}, **signed})
        if not answer.calls:
            parts.append({"text": "", "thoughtSignature": "c2lnbmVk"})
        for part in parts:
            yield self._response([{"content": {"role": "model", "parts": [part]}, "index": 0}])
        usage = {"promptTokenCount": 6, "candidatesTokenCount": 2, "thoughtsTokenCount": 1}
        end = self._response(
            [{"content": {"role": "model"}, "finishReason": answer.stop or "STOP", "index": 0}]
        )
        yield {**end, "usageMetadata": usage}

    @staticmethod
    def _response(candidates: list[dict[str, Any]]) -> dict[str, Any]:
        return {"candidates": candidates, "modelVersion": "gemini-3-pro"}


def refuse(message: str, *, status: int = 400, word: str = "INVALID_ARGUMENT") -> Refusal:
    """Return an error as Google shapes it."""
    return Refusal(status, {"error": {"code": status, "message": message, "status": word}})
