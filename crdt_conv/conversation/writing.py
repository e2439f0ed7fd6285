"""Writing a conversation: messages, streams, attachments, hidden fields, drafts."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pycrdt import Array

from crdt_conv.checks import check_branch, check_text
from crdt_conv.conversation.reading import Reading
from crdt_conv.conversation.writer import MessageWriter, new_part
from crdt_conv.document import schema
from crdt_conv.document.document import Document, shared
from crdt_conv.errors import InvalidMessage
from crdt_conv.ids import MessageId, new_id
from crdt_conv.messages.fields import Json, plain
from crdt_conv.messages.hidden import HiddenField, hidden_fields
from crdt_conv.messages.message import MAIN, MERGE, REDACTED, ROLES, STATUSES, Author, Message, Part, blobs_of
from crdt_conv.yjs.encoding import MapOf


class Writing(Reading):
    """What a person or a model adds."""

    def archive(self, *, archived: bool = True) -> None:
        """Put the conversation away, or bring it back, on every device; nothing of it is lost."""
        if archived != self.is_archived:
            with self.writing() as document:
                document.put("meta", "archived", archived)

    def append(
        self,
        role: str,
        text: str | None = None,
        *,
        parts: Sequence[Part] = (),
        hidden: Sequence[HiddenField] = (),
        branch: str = MAIN,
        parents: Sequence[str] | None = None,
        author: Author | None = None,
        created: int | None = None,
        model: str | None = None,
        usage: Mapping[str, Json] | None = None,
        stop_reason: str | None = None,
    ) -> Message:
        """
        Write a message, by default on top of all heads of its branch.

        Args:
            role: ``system``, ``user``, ``assistant`` or ``tool``.
            text: Becomes the first part.
            parts: Further parts; see ``new_part`` and ``attach``.
            hidden: What a provider sealed into it.
            branch: A new name forks, and needs ``parents``.
            parents: Message ids, where it is not the heads of the branch.
            author: Who wrote it; this device's person, where it is left out.
            created: When, in milliseconds; now, where it is left out.
            model: The model that wrote it.
            usage: Tokens and times, as the provider counted them.
            stop_reason: Why the model stopped.

        Raises:
            InvalidMessage: The role, the text or the branch can't be.
            UnknownBranch: A new branch, and no parents.
            UnknownMessage: A parent is not here.
            StoreError: It could not be made durable.
        """
        check_branch(branch)
        texts = () if text is None else (new_part("text", text=text),)
        stored = self._stored_fields(hidden)
        given = self.next_parents(branch) if parents is None else self._known(parents)
        draft = self._draft(
            role,
            branch,
            given,
            author,
            parts=(*texts, *parts),
            hidden=stored,
            created=created,
            model=model,
            usage=usage,
            stop_reason=stop_reason,
        )
        self._write([draft], {draft.id: stored})
        return self.message(draft.id)

    def insert(
        self, messages: Iterable[Message], hidden: Mapping[str, Sequence[HiddenField]] | None = None
    ) -> list[MessageId]:
        """
        Write messages that were made elsewhere, with the ids and parents they have, as one update.

        What is here already is passed over: doing it twice changes nothing.

        Args:
            messages: Parents before what stands on them.
            hidden: The hidden fields of messages, by their ids.

        Returns:
            The ids of those that were new.

        Raises:
            InvalidMessage: One can't be; none was written.
            UnknownMessage: A parent is neither here nor before it.
            StoreError: They could not be made durable.
        """
        drafts: dict[str, Message] = {}
        sealed: dict[MessageId, Sequence[HiddenField]] = {}
        for message in messages:
            if message.id not in self.graph and message.id not in drafts:
                fields = self._stored_fields((hidden or {}).get(message.id, ()))
                drafts[message.id] = self._whole(message, fields, drafts)
                sealed[message.id] = fields
        if drafts:
            self._write(list(drafts.values()), sealed)
        return list(sealed)

    def _whole(
        self, message: Message, hidden: Sequence[HiddenField], before: Mapping[str, Message]
    ) -> Message:
        """Return a message as it is to be written, checked."""
        check_branch(message.branch)
        if message.role not in ROLES or message.status not in STATUSES:
            raise InvalidMessage(
                f"no message has the role {message.role!r} and the status {message.status!r}"
            )
        if not message.id.isascii() or not message.id.isalnum() or not 0 <= message.created < 2**53:
            raise InvalidMessage(f"no message has the id {message.id!r} and the time {message.created!r}")
        for part in message.parts:
            check_text(part.text)
        self._known(parent for parent in message.parents if parent not in before)
        return replace(
            message,
            nonce=message.nonce or (b"" if message.status == REDACTED else secrets.token_bytes(16)),
            hidden_count=len(hidden),
            blobs=blobs_of(message.parts, [field.blob for field in hidden]),
        )

    def stream(
        self,
        role: str = "assistant",
        *,
        branch: str = MAIN,
        parents: Sequence[str] | None = None,
        author: Author | None = None,
        run: str | None = None,
        model: str | None = None,
    ) -> MessageWriter:
        """Begin a message whose text comes piece by piece; raises as ``append`` does."""
        check_branch(branch)
        given = self.next_parents(branch) if parents is None else self._known(parents)
        draft = self._draft(role, branch, given, author)
        self._write([replace(draft, status="streaming", run=run, model=model)])
        return MessageWriter(self, draft.id)

    def writer(self, message_id: str) -> MessageWriter:
        """
        Go on with a message that was begun before.

        Raises:
            UnknownMessage: It is not here.
        """
        return MessageWriter(self, self.message(message_id).id)

    def attach(self, path: str | Path, *, mime: str | None = None, name: str | None = None) -> Part:
        """
        Keep a file's bytes as a blob, and return the part that stands for it in a message.

        Args:
            path: The file.
            mime: Its media type; told by its name, where it is left out.
            name: What it is called; the file's own name, where it is left out.

        Raises:
            OSError: The file can't be read.
            StoreError: The bytes could not be made durable.

        Example:
            ``conv.append("user", "What is this?", parts=[conv.attach("photo.png")])``
        """
        file = Path(path)
        guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return self.attach_bytes(file.read_bytes(), mime=mime or guessed, name=name or file.name)

    def attach_bytes(self, data: bytes, *, mime: str, name: str = "") -> Part:
        """Keep bytes as a blob, and return the part that stands for them in a message."""
        sha256 = self._log.put_blob(data)
        return new_part("media", mime=mime, sha256=sha256, size=len(data), name=name)

    def _write(
        self, drafts: Sequence[Message], hidden: Mapping[MessageId, Sequence[HiddenField]] | None = None
    ) -> None:
        """Write messages as one update."""
        sealed = hidden or {}
        maps: dict[str, MapOf] = {
            draft.id: schema.message_map(draft, sealed.get(draft.id, ())) for draft in drafts
        }
        if all(map(_reads_back, drafts)):
            self._add(maps, drafts)
            return
        with self.writing() as document:
            for message_id, entry in maps.items():
                document.put("messages", message_id, entry)

    def _known(self, message_ids: Iterable[str]) -> tuple[MessageId, ...]:
        return tuple(self.graph[message_id].id for message_id in message_ids)

    def _draft(
        self,
        role: str,
        branch: str,
        parents: tuple[MessageId, ...],
        author: Author | None,
        *,
        parts: Sequence[Part] = (),
        hidden: Sequence[HiddenField] = (),
        created: int | None = None,
        model: str | None = None,
        usage: Mapping[str, Json] | None = None,
        stop_reason: str | None = None,
    ) -> Message:
        if role not in ROLES or role == MERGE:
            raise InvalidMessage(f"no role {role!r}: it is system, user, assistant or tool")
        for part in parts:
            check_text(part.text)
        if created is not None and not 0 <= created < 2**53:
            raise InvalidMessage(f"no time in milliseconds: {created!r}")
        created = self.next_created() if created is None else created
        return Message(
            id=MessageId(new_id(created)),
            role=role,
            parents=parents,
            branch=branch,
            created=created,
            author=author or self.author,
            parts=tuple(parts),
            model=model,
            usage=usage,
            stop_reason=stop_reason,
            nonce=secrets.token_bytes(16),
            hidden_count=len(hidden),
            blobs=blobs_of(parts, [field.blob for field in hidden]),
        )

    # Hidden fields

    def add_hidden(self, message_id: str, *fields: HiddenField) -> None:
        """
        Seal fields into a message; over 64 KiB their data becomes a blob.

        Raises:
            InvalidMessage: A field can't be kept exactly, or the message was redacted.
            UnknownMessage: It is not here.
            StoreError: It could not be made durable.
        """
        message = self.message(message_id)
        if message.status == REDACTED:
            raise InvalidMessage(f"the message {message_id} was redacted: nothing can be sealed into it")
        stored = [shared(schema.hidden_map(field)) for field in self._stored_fields(fields)]
        with self.writing() as document:
            entry = document.writable("messages", message.id)
            kept = entry.get("hidden") if entry is not None else None
            if isinstance(kept, Array):
                for field in stored:
                    kept.append(field)
            elif entry is not None:
                # Another program's message, with a plain list or none: ours grows from it.
                entry["hidden"] = Array([*(plain(kept) if isinstance(kept, list) else ()), *stored])

    def _stored_fields(self, fields: Sequence[HiddenField]) -> list[HiddenField]:
        return [self._stored_field(field) for field in fields]

    def _stored_field(self, field: HiddenField) -> HiddenField:
        created = field.created or self.next_created()
        large = field.as_blob()
        if large is None:
            return replace(field, created=created)
        data, encoding = large
        return replace(field, data=None, blob=self._log.put_blob(data), encoding=encoding, created=created)

    def strip(self, where: Callable[[HiddenField], bool] | None = None) -> int:
        """
        Remove hidden fields for good, from every message; the conversation still works.

        Args:
            where: Which; all of them, where it is left out.

        Returns:
            How many were removed.

        Raises:
            StoreError: It could not be made durable.
        """
        carriers = [node.id for node in self.graph if node.hidden_count]
        removed = 0
        with self.writing() as document:
            for message_id in carriers:
                removed += _strip_one(document, message_id, where)
        return removed

    # Drafts

    @property
    def draft(self) -> str:
        """What this device's person is writing, not sent yet."""
        return self.drafts.get(self.author.device, "")

    @property
    def drafts(self) -> dict[str, str]:
        """Unsent input by device."""
        drafts = self.document.read("drafts")
        return {device: text for device, text in drafts.items() if isinstance(text, str)}

    def set_draft(self, text: str) -> None:
        """Keep unsent input, so that it follows the person to another device."""
        check_text(text)
        with self.writing() as document:
            document.put_text("drafts", self.author.device, text)


def _strip_one(document: Document, message_id: MessageId, where: Callable[[HiddenField], bool] | None) -> int:
    raw = document.read_exact("messages", message_id, "hidden")
    entry = document.writable("messages", message_id)
    if entry is None or not isinstance(raw, list):
        return 0
    chosen = [at for at, field in enumerate(raw) if where is None or any(map(where, hidden_fields([field])))]
    kept = entry.get("hidden")
    if not isinstance(kept, Array):
        # Another program's plain list: it can only be written anew.
        entry["hidden"] = kept = Array(raw)
    for at in reversed(chosen):
        del kept[at]
    return len(chosen)


def _reads_back(draft: Message) -> bool:
    """Whether a draft is certain to read as it was written, so that nobody need look."""
    if draft.role == MERGE:
        # Its id is no secret: somebody may have written something else there before.
        return False
    values = (value for part in draft.parts for value in part.content.values())
    return draft.usage is None and all(isinstance(value, str | bool) for value in values)
