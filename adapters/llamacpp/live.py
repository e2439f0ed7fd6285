"""A running llama-server, as far as prompts and answers need to know it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.exchange import encode_json
from adapters.llamacpp.client import LlamaClient
from adapters.llamacpp.prompt import Renderer
from adapters.llamacpp.reading import THOUGHT
from adapters.llamacpp.slots import Slots
from adapters.llamacpp.toolcalls import is_native


@dataclass(frozen=True, slots=True)
class Live:
    """
    A server and its model.

    ``space`` is the key space of its tokens. ``is_native`` says that its template writes tools and calls,
    ``has_reasoning`` that the model marks its reasoning. ``slots`` are there where they are ours alone.
    ``checked`` remembers which token ids say what their messages say.
    """

    client: LlamaClient
    renderer: Renderer
    space: str
    model: str
    context_tokens: int
    is_native: bool
    has_reasoning: bool
    slots: Slots | None = None
    checked: dict[bytes, bool] = field(default_factory=dict)

    def with_client(self, client: LlamaClient) -> Live:
        """Return the same server, spoken to through another client."""
        return replace(self, client=client, renderer=self.renderer.with_server(client))


async def look_at(client: LlamaClient, *, space: str | None, model: str, slots: Slots | None) -> Live:
    """
    Return what a server says about itself.

    Args:
        client: The server.
        space: The key space of its tokens; made from what it says, where it is left out.
        model: What its model is called.
        slots: Those of a server that nobody else uses.

    Raises:
        AdapterError: It is away, or no llama-server.
    """
    props = await client.props()
    template = str(props.get("chat_template") or "")
    caps = props.get("chat_template_caps")
    settings = props.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    return Live(
        client,
        Renderer(client, begin=str(props.get("bos_token") or "")),
        space or _space_of(await client.models(), template),
        model,
        context if isinstance(context, int) and context > 0 else 4096,
        is_native(template, caps if isinstance(caps, dict) else {}),
        THOUGHT in template,
        slots,
    )


def _space_of(models: Mapping[str, Any], template: str) -> str:
    """Return a name for a model whose file is elsewhere: what the server tells of its vocabulary and size."""
    listed = models.get("data")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    meta = first.get("meta")
    told = {key: value for key, value in meta.items() if key != "n_ctx"} if isinstance(meta, dict) else {}
    known = encode_json([first.get("id"), sorted(told.items()), template])
    return f"llama-server:{hashlib.sha256(known).hexdigest()[:32]}"
