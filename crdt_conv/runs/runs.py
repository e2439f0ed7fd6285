"""
The runs of a conversation: asking for an answer, and writing down how it goes.

Any device asks and cancels; only the executor that holds the claim writes the
rest. Who holds it is the lease's to say (``Store.leases``), not the document's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycrdt import Array, Map

from crdt_conv.document import schema
from crdt_conv.errors import InvalidMessage, MalformedEntry, UnknownRun
from crdt_conv.ids import MessageId, RunId, new_id
from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import MAIN
from crdt_conv.runs.calls import APPROVAL, CALL, Call
from crdt_conv.runs.run import COMPLETED, EPOCH, REQUESTED, Run, Target, parse_run

if TYPE_CHECKING:
    from crdt_conv.conversation.branching import Branching
    from crdt_conv.document.document import Document


class Runs:
    """The ``runs`` root of one conversation."""

    def __init__(self, conversation: Branching) -> None:
        self._conversation = conversation

    def __getitem__(self, run_id: str) -> Run:
        """
        Return a run as it stands now.

        Raises:
            UnknownRun: It is not here, or has not the shape of one.
        """
        try:
            return parse_run(run_id, self._conversation.document.read("runs", run_id))
        except MalformedEntry as error:
            raise UnknownRun(run_id) from error

    def all(self) -> list[Run]:
        """Return all runs that have the shape of one, oldest first."""
        runs: list[Run] = []
        for run_id, raw in self._conversation.document.read("runs").items():
            try:
                runs.append(parse_run(run_id, raw))
            except MalformedEntry:
                continue
        return sorted(runs, key=lambda run: (run.created, run.id))

    def request(self, target: Target, branch: str = MAIN) -> Run:
        """
        Ask for an answer to a branch; asking again at its end asks for an alternative.

        Raises:
            InvalidMessage: There is nothing to answer.
            UnknownBranch: There is no such branch.
            StoreError: It could not be made durable.
        """
        return self._request(target, branch, self._answerable(branch))

    def again(self, reply: str, target: Target, branch: str | None = None) -> Run:
        """
        Ask again for a reply: an alternative at the end, a fork where it was continued.

        Args:
            reply: The message id of an answer.
            target: Which model shall answer this time.
            branch: The fork's name, where it forks; made from the reply's branch, where it is left out.

        Raises:
            InvalidMessage: The message is no answer.
            UnknownMessage: It is not here.
            StoreError: It could not be made durable.
        """
        graph = self._conversation.graph
        node = graph[reply]
        if not (node.is_reply and node.parents):
            raise InvalidMessage(f"{reply} answers nothing, so it can't be asked for again")
        is_continued = any(graph.is_continued(other.id) for other in graph.alternatives(node.id))
        fork = branch or self._conversation.free_branch(node.branch)
        return self._request(target, fork if is_continued else node.branch, node.parents)

    def _request(self, target: Target, branch: str, parents: Sequence[MessageId]) -> Run:
        run_id = RunId(new_id())
        fields = {
            "parents": list(parents),
            "branch": branch,
            "target": target.as_json(),
            "requested_by": self._conversation.author.device,
            "created": self._conversation.next_created(),
            "state": REQUESTED,
            "cancel": False,
        }
        with self._conversation.writing() as document:
            document.put("runs", run_id, schema.run_map(fields))
        return self[run_id]

    def _answerable(self, branch: str) -> Sequence[MessageId]:
        heads = self._conversation.heads(branch)
        if not heads:
            raise InvalidMessage("there is nothing to answer yet: append a message first")
        if len(heads) == 1 and heads[0].is_reply:
            return heads[0].parents
        return self._conversation.next_parents(branch)

    def claim(self, run_id: str, executor: str, epoch: int) -> Run:
        """Write down that an executor holds the lease of this epoch."""
        claim = {"executor": executor, "epoch": epoch, "at": self._conversation.next_created()}
        return self.update(run_id, claim=claim, state="claimed")

    def cancel(self, run_id: str) -> Run:
        """Ask the executor to stop; any device may. A run that is over stays as it is."""
        return self[run_id] if self[run_id].is_over else self.update(run_id, cancel=True)

    def approve(self, run_id: str, call_id: str, *, approved: bool = True) -> Run:
        """
        Say whether a call of a tool may be made; any device may.

        Args:
            run_id: The run.
            call_id: The call's ``call_id``, as it stands in the message, or its ``key`` (``Call.key``).
            approved: Whether it may be.

        Raises:
            InvalidMessage: No such call waits in this run.
            UnknownRun: It is not here.
            StoreError: It could not be made durable.
        """
        waiting = [call for call in self[run_id].pending if call_id in (call.key, self._call_id(call))]
        if not waiting:
            raise InvalidMessage(f"no call {call_id} of this run waits for approval")
        answer: Json = {
            "approved": approved,
            "by": self._conversation.author.device,
            "at": self._conversation.next_created(),
        }
        return self.update(run_id, **{APPROVAL + waiting[0].key: answer})

    def _call_id(self, call: Call) -> Json:
        """Return what the model calls a call; nothing where its message is not here."""
        if call.message not in self._conversation.graph:
            return None
        parts = self._conversation.message(call.message).parts
        return next((part.content.get("call_id") for part in parts if part.id == call.part), None)

    def record(self, run_id: str, *calls: Call) -> Run:
        """Write down how calls go, as one update; raises as ``update`` does."""
        records: dict[str, Json] = {CALL + call.key: call.as_record() for call in calls}
        return self.update(run_id, **records)

    def update(
        self,
        run_id: str,
        *,
        claim: Json = None,
        output: MessageId | None = None,
        epoch: int | None = None,
        **values: Json,
    ) -> Run:
        """
        Write how a run goes.

        Args:
            run_id: The run.
            claim: Appended to its claims.
            output: A message id, appended to its outputs.
            epoch: The epoch of the claim under which ``output`` was begun.
            values: Keys to set: ``state``, ``sent``, ``error``, ``cancel``.

        Raises:
            UnknownRun: It is not here.
            StoreError: It could not be made durable.
        """
        if output is not None and epoch is not None:
            values[EPOCH + output] = epoch
        if values.get("state") == "complete":
            values[COMPLETED] = True
        with self._conversation.writing() as document:
            entry = self._entry(document, run_id)
            for key, item in (("claims", claim), ("outputs", output)):
                items = entry.get(key)
                if item is not None and isinstance(items, Array):
                    items.append(item)
                elif item is not None:
                    # Another program's run, with a plain list or none: ours grows from it.
                    entry[key] = Array([*(items if isinstance(items, list) else ()), item])
            for key, value in values.items():
                entry[key] = value
        return self[run_id]

    def _entry(self, document: Document, run_id: str) -> Map[Any]:
        entry = document.writable("runs", run_id)
        if entry is None:
            raise UnknownRun(run_id)
        return entry
