"""From the lines of ``/api/chat`` to operations. Pure but for what it remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.errors import StreamBroken
from adapters.exchange import Begun, Finished, Grown, Operation, Request, Sealed, Usage
from adapters.exchange.request import encode_json
from adapters.http import error_in
from adapters.ollama.materialize import THINKING
from adapters.remote import maps
from adapters.spaces import NONE, Place

_STOP: Final = {"stop": "stop", "length": "length"}


class ChatIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._open = ("", "")
        self._count = 0
        self._has_calls = False
        self._last: Mapping[str, Any] | None = None

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """
        Take one line.

        Raises:
            AdapterError: It is an error.
        """
        error = error_in(event, self._request.body)
        if error is not None:
            raise error
        if event.get("done") is True:
            self._last = event
        message = event.get("message")
        if not isinstance(message, dict):
            return []
        operations = [
            *self._grow("reasoning", message.get("thinking")),
            *self._grow("text", message.get("content")),
        ]
        for call in maps(message.get("tool_calls")):
            operations += self._call(call.get("function"))
        return operations

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: It came too early.
        """
        last = self._last
        if last is None:
            raise StreamBroken("the answer broke off before its end")
        said = str(last.get("done_reason") or "stop")
        reason = "tool_calls" if self._has_calls and said == "stop" else _STOP.get(said, said)
        counts = {key: value for key, value in last.items() if key.endswith(("_count", "_duration"))}
        usage = Usage(_number(last, "prompt_eval_count"), _number(last, "eval_count"), raw=counts)
        return [Finished(reason, usage, str(last["model"]) if isinstance(last.get("model"), str) else None)]

    def _grow(self, kind: str, text: object) -> list[Operation]:
        if not isinstance(text, str) or not text:
            return []
        begun: list[Operation] = []
        if self._open[0] != kind:
            key = self._key()
            self._open = (kind, key)
            begun = [Begun(key, kind)]
            if kind == "reasoning":
                begun.append(Sealed(self._place.seal(THINKING, THINKING, space=NONE), key))
        return [*begun, Grown(self._open[1], text)]

    def _call(self, function: object) -> list[Operation]:
        if not isinstance(function, dict):
            return []
        self._open, self._has_calls = ("", ""), True
        key, given = self._key(), function.get("arguments")
        arguments = given if isinstance(given, str) else encode_json(given or {}).decode()
        return [Begun(key, "tool_call", {"name": function.get("name")}), Grown(key, arguments)]

    def _key(self) -> str:
        self._count += 1
        return str(self._count)


def _number(line: Mapping[str, Any], key: str) -> int | None:
    value = line.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
