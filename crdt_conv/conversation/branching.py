"""
Forking a conversation and bringing forks together: all of it by adding messages, branches and choices.

Nothing here rewrites what was written. Editing forks; so does asking again
where the answer was continued (``Runs.again``) and choosing another reply there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from crdt_conv.checks import LONGEST_BRANCH, check_branch, check_text
from crdt_conv.clock import LATEST_MS
from crdt_conv.conversation.redacting import Redacting
from crdt_conv.conversation.writer import new_part
from crdt_conv.document import schema
from crdt_conv.errors import InvalidMessage, UnknownBranch
from crdt_conv.ids import MessageId, derived_bytes, merge_id
from crdt_conv.messages.hidden import SELF, HiddenField
from crdt_conv.messages.message import MAIN, MERGE, REDACTED, Author, Message, Part, blobs_of


class Branching(Redacting):
    """Branches, alternatives and merges."""

    # Branches

    def fork(self, branch: str, at: str) -> None:
        """
        Begin a branch at a message; what is appended to it is written on top of that.

        Raises:
            InvalidMessage: A branch of this name is there already.
            UnknownMessage: ``at`` is not here.
        """
        check_branch(branch)
        if self.has_branch(branch):
            raise InvalidMessage(f"there is a branch {branch!r} already: choose another name")
        entry = {"title": branch, "archived": False, "forked_at": self.graph[at].id}
        with self.writing() as document:
            document.put("branches", branch, schema.plain_map(entry))

    def free_branch(self, beside: str) -> str:
        """Return a name that no branch has, made from another's."""
        taken = set(self.branches)
        # The number at the end goes on, so that an edit of an edit is no tail of numbers.
        stem, dash, number = beside.rpartition("-")
        stem = stem if dash and number.isdecimal() else beside
        names = (stem[: LONGEST_BRANCH - 1 - len(str(n))] + f"-{n}" for n in count(2))
        return next(name for name in names if name not in taken)

    def rename_branch(self, branch: str, title: str) -> None:
        """
        Give a branch another title; its name stays, since messages carry it.

        Raises:
            UnknownBranch: There is none of this name.
        """
        check_text(title)
        self._describe_branch(branch, title=title)

    def archive_branch(self, branch: str, *, archived: bool = True) -> None:
        """
        Put a branch away, or bring it back; nothing of it is lost.

        Raises:
            UnknownBranch: There is none of this name.
        """
        self._describe_branch(branch, archived=archived)

    def _describe_branch(self, branch: str, **values: str | bool) -> None:
        known = self.branch(branch)
        with self.writing() as document:
            entry = document.writable("branches", branch)
            if entry is None:
                whole = {"title": known.title, "archived": known.is_archived, **values}
                document.put("branches", branch, schema.plain_map(whole))
            else:
                for key, value in values.items():
                    entry[key] = value

    # Alternatives

    def choose(self, message_id: str) -> str:
        """
        Make a reply the one that its branch goes on with.

        Where another was continued already, that goes on in peace, and a fork begins here.

        Returns:
            The branch that goes on with this reply.

        Raises:
            InvalidMessage: It is no reply, or not complete.
            UnknownMessage: It is not here.
        """
        node = self.graph[message_id]
        if not (node.is_reply and node.is_complete and node.parents):
            raise InvalidMessage(f"{message_id} is no complete reply, so it can't be chosen")
        others = [other for other in self.graph.alternatives(node.id) if other.id != node.id]
        if any(self.graph.is_continued(other.id) for other in others) and not self.graph.is_continued(
            node.id
        ):
            branch = self.free_branch(node.branch)
            self.fork(branch, node.id)
            return branch
        with self.writing() as document:
            document.put("choices", node.parents[0], node.id)
        return node.branch

    def edit(
        self,
        message_id: str,
        text: str | None = None,
        *,
        parts: Sequence[Part] = (),
        branch: str | None = None,
    ) -> Message:
        """
        Write a message anew on a fork; the old one stays where it is.

        Args:
            message_id: The message to write anew.
            text: What it says instead.
            parts: Further parts.
            branch: The fork's name; made from the message's branch, where it is left out.

        Raises:
            InvalidMessage: It is a merge, or the fork's name is taken.
            UnknownMessage: It is not here.
        """
        node = self.graph[message_id]
        name = branch or self.free_branch(node.branch)
        if self.has_branch(name):
            raise InvalidMessage(f"there is a branch {name!r} already: choose another name")
        return self.append(node.role, text, parts=parts, branch=name, parents=node.parents)

    # Merges

    def merge(self, source: str, into: str = MAIN) -> Message | None:
        """
        Join a branch into another by a ``merge`` message on the target.

        All of it is derived from the parents, so that the same merge made on two
        devices is one message with one digest.

        Returns:
            The merge message, or ``None`` where the target holds all of the source.

        Raises:
            UnknownBranch: One of them is not here.
        """
        graph = self.graph
        if not self._added(source, into):
            return None
        heads = {head.id: head for head in (*self._heads(into), *self._heads(source))}
        parents = graph.parents_for(heads.values())
        created = min(max(graph[parent].created for parent in parents) + 1, LATEST_MS)
        merged = Message(
            id=MessageId(merge_id(into, parents, created)),
            role=MERGE,
            parents=parents,
            branch=into,
            created=created,
            author=Author("tool", name="merge"),
            nonce=derived_bytes("nonce", into, *parents)[:16],
        )
        self._write([merged])
        return self.message(merged.id)

    def squash(self, source: str, into: str = MAIN, *, text: str | None = None) -> Message | None:
        """
        Write all that a branch adds to another as one message there; the branch stays as it is.

        Args:
            source: The branch.
            into: The branch that gets the message, of role ``user``.
            text: What it says; a transcript, where it is left out.

        Returns:
            The message, or ``None`` where the target holds all of the source.

        Raises:
            UnknownBranch: One of them is not here.
        """
        added = [message for message in self._added(source, into) if message.status != REDACTED]
        if not added:
            return None
        says = _transcript(added) if text is None else text
        check_text(says)
        squasher, part = Author("tool", name="squash"), new_part("text", text=says)
        draft = self._draft("user", into, self.next_parents(into), squasher, parts=[part])
        draft = replace(draft, source=tuple(message.id for message in added))
        self._write([draft])
        return self.message(draft.id)

    def cherry_pick(self, message_ids: Sequence[str], into: str = MAIN) -> list[Message]:
        """
        Write copies of messages on top of a branch, in the order given.

        Hidden fields come along where they are valid wherever their message is.

        Raises:
            InvalidMessage: One is a merge, or was redacted.
            UnknownBranch: There is no such branch.
            UnknownMessage: One is not here.
        """
        parents = self.next_parents(into)
        drafts: list[Message] = []
        hidden: dict[MessageId, list[HiddenField]] = {}
        for picked in self.messages(message_ids):
            if picked.role == MERGE or picked.status == REDACTED:
                raise InvalidMessage(f"{picked.id} says nothing that could be picked")
            kept = [
                field for field in self._fields_as_stored(picked) if field.binding == SELF and field.is_whole
            ]
            draft = self._draft(picked.role, into, parents, picked.author, parts=picked.parts)
            draft = replace(
                draft,
                source=(picked.id,),
                status=picked.status if picked.status != "streaming" else "interrupted",
                model=picked.model,
                stop_reason=picked.stop_reason,
                hidden_count=len(kept),
                blobs=blobs_of(picked.parts, [field.blob for field in kept]),
            )
            drafts.append(draft)
            hidden[draft.id] = kept
            parents = (draft.id,)
        if drafts:
            self._write(drafts, hidden)
        return self.messages([draft.id for draft in drafts])

    def merge_document(self, fork: Branching) -> bool:
        """
        Bring back a fork that is a document of its own: its updates are the merge.

        Returns:
            Whether it held anything new.

        Raises:
            StoreError: It could not be made durable.
        """
        origin = self.index.roots["meta"].get("forked_from")
        is_news = self.receive(fork.encode(self.state_vector))
        if self.index.roots["meta"].get("forked_from") != origin:
            # The fork's mark says where the fork came from.
            with self.writing() as document:
                document.put("meta", "forked_from", origin)
        return is_news

    def _added(self, source: str, into: str) -> list[Message]:
        """
        Return what a branch's log adds to another's.

        Raises:
            UnknownBranch: One of them is not here.
        """
        for name in (source, into):
            if not self.has_branch(name):
                raise UnknownBranch(name)
        held = set(self.graph.lin_ids(*(head.id for head in self._heads(into))))
        log = self.graph.lin_ids(*(head.id for head in self._heads(source)))
        return self.index.messages([message_id for message_id in log if message_id not in held])


def _transcript(messages: Sequence[Message]) -> str:
    said = [message for message in messages if message.text]
    return "\n\n".join(f"{message.author.name or message.role}: {message.text}" for message in said)
