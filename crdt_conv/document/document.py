"""
The replica of one conversation: a Y.Doc, and an index over what it holds.

This is the only module that reads or changes a ``pycrdt.Doc``. It knows no
store and no clock: updates come in by ``apply`` or arise in ``transaction``,
and whoever calls decides when they are durable.

What it adds to pycrdt: it says which entries a transaction touched, and updates
that can't be integrated yet are kept and served along (``get_update()`` drops
them). What the entries mean is ``index``'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import finalize

from pycrdt import Array, Doc, Map, Text, TransactionEvent

from crdt_conv.document import schema
from crdt_conv.document.changes import Changes
from crdt_conv.document.subscribers import unobserve, weakly
from crdt_conv.errors import MalformedUpdate, is_panic
from crdt_conv.garbage import MUCH_BYTES
from crdt_conv.ids import MessageId
from crdt_conv.messages.fields import Json, common, plain
from crdt_conv.yjs.batches import batches, is_update
from crdt_conv.yjs.encoding import ListOf, MapOf, TextOf
from crdt_conv.yjs.nesting import DEEPEST_TYPE, deepest, most_types, shape_of, whole_clocks, without_harm
from crdt_conv.yjs.structs import Ranges
from crdt_conv.yjs.updates import (
    covers,
    has_structs,
    lacking,
    merge_updates,
    read_deletes,
    read_state_vector,
)
from crdt_conv.yjs.waiting import Held, held_in, rests, together

DEEPEST_UNSEEN: Final = 2_000
"""How deep types may come to stand in roots that we don't read, before all is read anew."""

MANY: Final = 200
"""More entries than this are read faster by reading their whole root."""


class Document:
    """A Y.Doc of schema 1. Not to be used from two threads."""

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        """
        Build the replica from a log.

        An update that can't be integrated is left out and counted in ``refused``.
        """
        self._begin()
        self._own: list[bytes] = []
        self._pending: list[bytes] = []
        self._changes = Changes()
        self._refused: list[bytes] = []
        self._changed_depth = self._unseen_depth = 0
        self._written: set[tuple[str, str]] = set()
        self._known: Held | None = None
        # Bytes of updates from elsewhere, this object's log included.
        self._received = 0
        self._load(updates)
        self._observe()

    def _begin(self) -> None:
        self._ydoc: Doc[Any] = Doc()
        self._yroots = {name: self._root(name) for name in schema.ROOTS}

    def _root(self, name: str) -> Map[Any]:
        root: Map[Any] = self._ydoc.get(name, type=Map)
        return root

    def take(self, update: bytes) -> None:
        """Note an update that ``Additions`` made beside this document; applied when next needed."""
        self._own.append(update)

    @property
    def _doc(self) -> Doc[Any]:
        if self._own:
            self._catch_up()
        return self._ydoc

    @property
    def _roots(self) -> dict[str, Map[Any]]:
        if self._own:
            self._catch_up()
        return self._yroots

    def _catch_up(self) -> None:
        own, self._own = self._own, []
        # What they change is known to whoever made them.
        known, self._changes = self._changes, Changes()
        for batch in batches(own):
            with self._ydoc.transaction():
                for update in batch:
                    self._ydoc.apply_update(update)
        self._changes = known

    # Bytes in and out

    def _load(self, updates: Iterable[bytes]) -> None:
        log = list(updates)
        self._received = sum(map(len, log))
        shape, merged = shape_of(log), None
        if shape.is_shallow and not shape.is_in_sequence:
            with suppress(MalformedUpdate):
                merged = [merge_updates(log)]
        plain = log if shape.is_in_sequence else merged
        if not shape.is_shallow or plain is None or not self._apply_all(plain):
            sound = [is_update(update) for update in log]
            unsound = [update for update, is_sound in zip(log, sound, strict=True) if not is_sound]
            log = [update for update, is_sound in zip(log, sound, strict=True) if is_sound]
            merged = self._apply_harmless(log)
            self._refused += unsound
        clocks = read_state_vector(self.state_vector)
        if shape.ends is None or any(end > clocks.get(client, 0) for client, end in shape.ends.items()):
            self._keep_pending(log)
        if self._pending:
            # Yjs gives up too early on what waits; asked again, all at once, it integrates the rest.
            with suppress(ValueError, RuntimeError):
                self._doc.apply_update(merge_updates(merged or self._pending))
            self._keep_pending(self._pending)

    def _apply_all(self, log: list[bytes]) -> bool:
        """Apply a log; whether all of it could be."""
        self._refused.clear()
        try:
            for batch in batches(log):
                with self._ydoc.transaction():
                    self._refused += (update for update in batch if not self._is_applied(update))
        except BaseException as error:
            if not is_panic(error):
                raise
            return False
        return not self._refused

    def _is_applied(self, update: bytes) -> bool:
        try:
            self._ydoc.apply_update(update)
        except (ValueError, RuntimeError):
            return False
        return True

    def _apply_harmless(self, log: list[bytes]) -> list[bytes]:
        """Apply what of a log does no harm, in a new Y.Doc; returns it."""
        self._begin()
        try:
            # pycrdt panics over a client without structs, among others; merging leaves such things out.
            merged = [without_harm(merge_updates(log))]
        except MalformedUpdate:
            merged = log
        self._apply_all(merged)
        return merged

    def apply(self, update: bytes) -> Changes | None:
        """
        Integrate an update from elsewhere.

        Returns:
            What changed. Nothing where this object must be thrown away for a new one, built from the
            log: where some update waits, or waited, for another, Yjs neither integrates all that it
            could then, nor tells of it all; and some of an update may have to be left out. Also where most is
            new: to read all of it at once takes half as long as to be told of every entry.
        """
        self._changes = Changes()
        self._changed_depth = 0
        if len(update) > max(MUCH_BYTES, self._received):
            return None
        self._received += len(update)
        depth = most_types(update)
        if depth > DEEPEST_TYPE // 2 and (depth := deepest([update])) > DEEPEST_TYPE:
            return None
        try:
            self._doc.apply_update(update)
        except (ValueError, RuntimeError):
            # For what stands in it, or in what waited for it.
            return None
        except BaseException as error:
            # pycrdt's observers panic over a key that was written behind a gap, and fail over deep nesting.
            if is_panic(error) or isinstance(error, SystemError | ExceptionGroup):
                return None
            raise
        has_waited = self.is_pending
        self._keep_pending([*self._pending, update])
        is_exact = not has_waited and not self.is_pending and self._stays_shallow(depth)
        return self._changes if is_exact else None

    @property
    def noticed(self) -> set[MessageId]:
        """The messages in which the last change did something, as far as Yjs tells."""
        return self._changes.messages

    def _stays_shallow(self, added: int) -> bool:
        """Whether nothing stands too deep, now that so many types in each other were added at most."""
        if added and self.unknown_roots():
            # Of a root that is not ours nobody tells how deep something was changed in it.
            self._unseen_depth += added
        return self._changed_depth + added <= DEEPEST_TYPE and self._unseen_depth <= DEEPEST_UNSEEN

    @contextmanager
    def transaction(self) -> Iterator[Changes]:
        """Make changes as one update; the yielded ``Changes`` is filled in at the end."""
        changes = self._changes = Changes()
        self._written.clear()
        with self._doc.transaction():
            yield changes
        if self.is_pending and changes.update:
            # Of an entry that came behind a gap Yjs tells nothing, whatever happens to it.
            for root, key in self._written:
                changes.note(root, key)

    def encode(self, state_vector: bytes | None = None) -> bytes:
        """
        Return everything, or what ``state_vector`` lacks, as one update; pending parts included.

        Raises:
            MalformedUpdate: ``state_vector`` is none, or something is here that can be read, but not encoded.
        """
        try:
            update = self._doc.get_update(state_vector)
        except (ValueError, RuntimeError) as error:
            raise MalformedUpdate("not a state vector") from error
        except BaseException as error:
            if not is_panic(error):
                raise
            # yrs divides by the length of a client's structs, which can be 0 behind a gap.
            raise MalformedUpdate("a document that can't be encoded") from error
        # The rest of what waits is integrated, and may be redacted since.
        return merge_updates([update, *self._waiting().values()]) if self._pending else update

    def encode_integrated(self) -> bytes:
        """
        Return everything but ``left_over`` as one update.

        Raises:
            MalformedUpdate: Something is here that can be read, but not encoded.
        """
        pending, self._pending = self._pending, []
        try:
            return self.encode()
        finally:
            self._pending = pending

    def encode_soundly(self) -> bytes:
        """
        Return what ``encode_integrated`` does, to be put in the place of a log.

        Raises:
            MalformedUpdate: Not all that is here can be encoded.
        """
        encoded = self.encode_integrated()
        known = whole_clocks(encoded)
        here = read_state_vector(self.state_vector)
        if any(known.get(client, 0) != clock for client, clock in here.items()):
            raise MalformedUpdate("a document that is encoded with a gap which it does not have")
        return encoded

    @property
    def left_over(self) -> dict[bytes, bytes]:
        """The updates of which something is not integrated, each with what waits for another, or can't be."""
        return self._waiting() | {update: update for update in self._refused}

    def _waiting(self) -> dict[bytes, bytes]:
        if not self._pending or (held := self._held()) is None:
            return {update: update for update in self._pending}
        return rests(self._pending, held)

    def _held(self) -> Held | None:
        """Return what is integrated, where it can be encoded; read once for every transaction."""
        if self._known is None:
            with suppress(MalformedUpdate):
                self._known = held_in(self.encode_integrated())
        return self._known

    @property
    def refused(self) -> int:
        """How many updates can't be integrated."""
        return len(self._refused)

    @property
    def state_vector(self) -> bytes:
        """Which operations this replica has integrated."""
        return self._doc.get_state()

    @property
    def is_pending(self) -> bool:
        """Whether some update waits for another that has not come."""
        return bool(self._pending)

    def is_redundant(self, update: bytes) -> bool:
        """Whether ``update`` holds nothing that this replica has not integrated."""
        state_vector = self.state_vector
        if not self._pending and not read_state_vector(state_vector) and has_structs(update):
            return False
        rest = lacking(update, state_vector)
        if has_structs(rest):
            # A compaction keeps no more than what waits of an update that came whole.
            return update in self._pending or self._holds(update)
        deletes = read_deletes(rest)
        return not deletes or covers(self._deletes(), deletes)

    def _holds(self, update: bytes) -> bool:
        """Whether all of an update is here, though something waits."""
        if not self.is_pending or (held := self._held()) is None:
            return False
        waiting = map(held_in, self._waiting().values())
        return not rests([update], together([held, *filter(None, waiting)]))

    def _deletes(self) -> Ranges:
        # An update against our own state vector is our delete set, and nothing else.
        try:
            return read_deletes(self._doc.get_update(self.state_vector))
        except BaseException as error:
            if not is_panic(error):
                raise
            # As in encode(). Taken for new, a delete is logged twice at worst.
            return {}

    def _keep_pending(self, updates: list[bytes]) -> None:
        state_vector = self.state_vector
        clocks = read_state_vector(state_vector)
        self._pending = [update for update in updates if self._waits(update, state_vector, clocks)]

    def _waits(self, update: bytes, state_vector: bytes, clocks: Mapping[int, int]) -> bool:
        try:
            rest = lacking(update, state_vector)
            if has_structs(rest):
                return True
            deletes = read_deletes(rest)
        except MalformedUpdate:
            return False
        return any(
            clock + length > clocks.get(client, 0)
            for client, ranges in deletes.items()
            for clock, length in ranges
        )

    def unknown_roots(self) -> list[str]:
        """Return the names of roots that schema 1 does not have; they are kept."""
        return sorted(name for name in self._doc.keys() if name not in self._roots)  # noqa: SIM118 - no iterator

    # What changes

    def _observe(self) -> None:
        observed: list[tuple[Any, Any]] = []
        # Weakly: the Y.Doc holds its observers where no garbage collector sees them.
        observed.append((self._ydoc, self._ydoc.observe(weakly(self._on_transaction))))
        for name, noted in (
            ("messages", self._on_messages),
            ("runs", self._on_runs),
            ("meta", self._on_meta),
            ("choices", self._on_choices),
            ("branches", self._on_branches),
            ("drafts", self._on_drafts),
        ):
            root = self._yroots[name]
            observed.append((root, root.observe_deep(weakly(noted))))
        # An observer holds its Y.Doc just so, which would never leave memory.
        finalize(self, unobserve, observed).atexit = False

    def _on_transaction(self, event: TransactionEvent) -> None:
        self._known = None
        self._changes.update = event.update

    def _on_messages(self, events: list[Any]) -> None:
        self._changes.messages.update(MessageId(key) for key in self._touched(events))

    def _on_runs(self, events: list[Any]) -> None:
        self._changes.runs.update(self._touched(events))

    def _on_meta(self, events: list[Any]) -> None:
        self._touched(events)
        self._changes.roots.add("meta")

    def _on_choices(self, events: list[Any]) -> None:
        self._touched(events)
        self._changes.roots.add("choices")

    def _on_branches(self, events: list[Any]) -> None:
        self._touched(events)
        self._changes.roots.add("branches")

    def _on_drafts(self, events: list[Any]) -> None:
        self._touched(events)

    def _touched(self, events: list[Any]) -> set[str]:
        """Return the keys of a root under which something changed, and note how deep."""
        keys: set[str] = set()
        for event in events:
            path = event.path
            if path:
                keys.add(str(path[0]))
                self._changed_depth = max(self._changed_depth, len(path))
            else:
                keys.update(event.keys)
        return keys

    # Reading and writing entries

    def read(self, root: str, key: str | None = None) -> Json:
        """Return a root, or one entry of it (nothing if it is not there), as JSON; bytes become lists."""
        source: Any = self._roots[root]
        if key is not None:
            source = source.get(key)
        # A Map's text is its JSON, made in one call; walking it is four times slower.
        if not isinstance(source, Map):
            return source
        try:
            return json.loads(str(source))
        except RecursionError:
            # Nested deeper than anybody means: entry by entry, so that only the deep one is lost.
            return {name: self.read(root, name) for name in source.keys()} if key is None else None  # noqa: SIM118

    def read_entries(self, root: str, keys: Collection[str]) -> dict[str, Json]:
        """Return some entries of a root as ``read`` does, those that are there."""
        here = self._roots[root]
        if len(keys) > MANY:
            whole = self.read(root)
            return {key: whole[key] for key in keys if key in whole}
        return {key: self.read(root, key) for key in keys if key in here}

    def read_exact(self, root: str, key: str, field: str) -> Any:
        """Return one field of an entry as JSON and bytes; nothing where it is not there."""
        entry = self._roots[root].get(key)
        value = entry.get(field) if isinstance(entry, Map | dict) else None
        # Item by item, so that only the odd one is lost.
        return [_exact(item) for item in value] if isinstance(value, Array) else _exact(value)

    def put(self, root: str, key: str, value: Any) -> None:
        """Set an entry of a root; inside ``transaction``."""
        self._written.add((root, key))
        self._roots[root][key] = shared(value)

    def put_text(self, root: str, key: str, text: str) -> None:
        """Make an entry a Text that reads so, changing only what differs; inside ``transaction``."""
        entry = self._roots[root].get(key)
        if not isinstance(entry, Text):
            self.put(root, key, TextOf(text))
            return
        old = str(entry)
        start = common(old, text)
        old_rest, rest = old[start:], text[start:]
        end = common(old_rest[::-1], rest[::-1])
        # pycrdt counts in bytes of UTF-8.
        at = len(old[:start].encode())
        gone = len(old_rest[: len(old_rest) - end].encode())
        if gone:
            del entry[at : at + gone]
        if len(rest) > end:
            entry.insert(at, rest[: len(rest) - end])

    def entry(self, root: str, key: str) -> Map[Any] | None:
        """Return an entry that is a Map, to be changed inside ``transaction``."""
        self._written.add((root, key))
        value = self._roots[root].get(key)
        return value if isinstance(value, Map) else None

    def writable(self, root: str, key: str, keys: Collection[str] | None = None) -> Map[Any] | None:
        """
        Return an entry as ``entry`` does; another program's plain object becomes a Map first.

        Args:
            root: Its root.
            key: Its key.
            keys: What of a plain object is taken over; all of it, where it is left out.
        """
        value = self._roots[root].get(key)
        if isinstance(value, dict):
            kept = {str(name): plain(item) for name, item in value.items() if keys is None or name in keys}
            self.put(root, key, MapOf(kept))
        return self.entry(root, key)


def shared(value: Any) -> Any:
    """Return a value as pycrdt takes it, shared types not in a document yet."""
    if isinstance(value, MapOf):
        return Map({key: shared(item) for key, item in value.items()})
    if isinstance(value, ListOf):
        return Array([shared(item) for item in value])
    return Text(value) if isinstance(value, TextOf) else value


def _exact(value: Any) -> Any:
    """Return a value as JSON and bytes; nothing for XML, and for what is nested too deeply."""
    try:
        return plain(value.to_py() if isinstance(value, Array | Map | Text) else value)
    except (ValueError, RecursionError):
        return None
