"""What would be sent, and why: a request made and not sent, with everything that was decided for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.exchange import Adapter, Hidden, Json, Report, Request, Tool
from crdt_conv import MAIN, Conversation, Target
from crdt_conv.ids import now_ms


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    One request: what it is, and what became of the log for it.

    ``log`` is the log's digest, ``tools`` are the names of what an executor offers beside the log.
    """

    adapter: str
    model: str
    branch: str
    log: bytes
    request: Request
    report: Report
    tools: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return all of it as JSON."""
        report = self.report.as_json()
        report["hidden"] = [
            {"message": sent.message, "part": sent.at, "kind": sent.kind, "space": sent.space}
            for sent in self.report.hidden
        ]
        report.setdefault("reused", {})
        return {
            "adapter": self.adapter,
            "model": self.model,
            "branch": self.branch,
            "log": self.log.hex(),
            "tools": list(self.tools),
            **report,
            "request": {
                "method": self.request.method,
                "path": self.request.path,
                "bytes": len(self.request.content),
                "digest": self.request.digest,
                "body": self.request.body,
            },
        }


def explain(
    adapter: Adapter,
    conversation: Conversation,
    target: Target,
    branch: str = MAIN,
    tools: Sequence[Tool] = (),
) -> Explanation:
    """
    Materialize what an adapter would send for a branch as it reads now. Nothing is sent or written.

    Args:
        adapter: Which one.
        conversation: The conversation.
        target: Which model, and with what parameters.
        branch: Which branch.
        tools: What the executor offers.

    Raises:
        AdapterError: It could not be sent.
        UnknownBranch: There is no such branch.
    """
    heads = [head.id for head in conversation.heads(branch)]
    log = conversation.lin(*heads)
    request, report = adapter.materialize(log, target, tools, Hidden.of(conversation, now_ms=now_ms()))
    model = target.model or adapter.model
    names = tuple(tool.name for tool in tools)
    return Explanation(adapter.name, model, branch, conversation.digest(*heads), request, report, names)
