"""Reading recordings that move between providers: each request by its own API's reader."""

from __future__ import annotations

from adapters.exchange import Adapter
from crdt_conv import Conversation, Target
from tests.recorded.chat import ChatReader
from tests.recorded.files import Exchange
from tests.recorded.gemini import GeminiReader
from tests.recorded.messages import MessagesReader
from tests.recorded.replay import Entry, Reader
from tests.recorded.responses import ResponsesReader

_ENDS = {"/messages": "anthropic", "/responses": "openai-responses", "/chat/completions": "openai-chat"}


def api_of(exchange: Exchange) -> str:
    """Return which API a request is for."""
    return next((api for end, api in _ENDS.items() if exchange.path.endswith(end)), "gemini")


class MixedReader:
    """Reads requests of several APIs."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {
            "anthropic": MessagesReader(),
            "gemini": GeminiReader(),
            "openai-chat": ChatReader(),
            "openai-responses": ResponsesReader(),
        }

    def adapter(self, exchange: Exchange) -> Adapter:
        return self._readers[api_of(exchange)].adapter(exchange)

    def target(self, exchange: Exchange) -> Target:
        return self._readers[api_of(exchange)].target(exchange)

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        return self._readers[api_of(exchange)].history(exchange, conversation)
