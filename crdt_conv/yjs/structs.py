"""
Read the structs of an update (Yjs V1) one by one, without recursion and without pycrdt.

Every byte is walked over as yrs does it, so what is found here is what yrs would find. Most structs of
a conversation have a few simple forms: regular expressions take runs of them at the speed of C, and say
the same as the long way, ``_struct``. Source: Yjs, ``Item.js`` and ``encoding.js``; yrs, ``update.rs``.

Ids are kept as their bytes: the numbers of the client and of the clock behind each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from crdt_conv.errors import MalformedUpdate

DEEPEST_VALUE: Final = 500
"""Plain lists and objects in each other: yrs recurses over them, and some 12,000 end a process."""

GC, SKIP = 0, 10
DELETED, BINARY, STRING, EMBED, FORMAT, TYPE, VALUES, DOCUMENT = 1, 3, 4, 5, 6, 7, 8, 9
_LEFT, _RIGHT, _KEY, _KIND = 0x80, 0x40, 0x20, 0x0F
_XML_ELEMENT = 3
_TYPES: Final = {0, 1, 2, 4, 5, 6, 9, 15}

_LIST, _OBJECT, _INTEGER, _WORDS = 0x75, 0x76, 0x7D, {0x77, 0x74}
# What comes behind the tag of a plain value, in bytes.
_FIXED: Final = {0x7F: 0, 0x7E: 0, 0x7C: 4, 0x7B: 8, 0x7A: 8, 0x79: 0, 0x78: 0}
_KEY_BYTES = 2
_HARMLESS: Final = 1 << 21
"""Room for so many keys is made in no time: in three bytes a number says no more."""

SHORT: Final = 1024
"""So long an update is read the long way at first: to make expressions takes as long as 20,000 structs."""
SPARED: Final = 500
"""So many are read so in a process; whoever reads more is quicker with expressions."""
_long_ways = iter(range(SPARED, 0, -1))

_BYTES: Final = [bytes((value,)) for value in range(256)]

Id = bytes
Ranges = dict[int, list[tuple[int, int]]]
"""Client id to ``(clock, length)``."""


class Struct(NamedTuple):
    """
    One struct of an update.

    It stands ``inside`` an item that is a shared type, or ``beside`` others, where they stand; with
    neither it stands in a root. ``start`` and ``end`` are its place in the update, told by ``Structs.all``.
    """

    client: bytes
    clock: int
    length: int
    kind: int
    inside: Id | None
    beside: tuple[Id, ...]
    start: int
    end: int

    @property
    def id(self) -> Id:
        """The id of its first element."""
        return self.client + number_of(self.clock)


class Structs:
    """The structs of one update, to be read once."""

    def __init__(self, update: bytes, *, short: int = SHORT) -> None:
        self._data = update
        self._at = 0
        self._is_short = len(update) <= short
        self.spans: list[tuple[bytes, int, int]] = []
        """What was read by ``nested_places``: client, first clock and the one behind; Skips part them."""

    def ranges(self) -> tuple[Ranges, Ranges]:
        """
        Return what is inserted and what is deleted.

        Raises:
            MalformedUpdate: As ``check`` does.
        """
        inserted: Ranges = {}
        for struct in self.all():
            if struct.kind != SKIP:
                inserted.setdefault(value_of(struct.client), []).append((struct.clock, struct.length))
        return inserted, self.deletes()

    def check(self) -> None:
        """
        Read to the end.

        Raises:
            MalformedUpdate: The update says what it can't hold, is nested too deep or names a client twice.
        """
        for _ in self._runs("checked"):
            pass
        self.deletes()

    def nested_types(self) -> Iterator[Struct]:
        """
        Yield the structs that are shared types and don't stand in a root by its name, in their order.

        Raises:
            MalformedUpdate: As ``check`` does, but for the delete set.
        """
        return (
            struct
            for struct in self._structs("nested types")
            if struct.kind == TYPE and (struct.inside is not None or struct.beside)
        )

    def nested_places(self) -> Iterator[tuple[Id, Id | None, tuple[Id, ...]]]:
        """Yield what ``nested_types`` does, as id, inside and beside what it stands, faster."""
        for found in self._runs("nested places"):
            if isinstance(found, Struct):
                if found.kind == SKIP:
                    continue
                self._note_span(found.client, found.clock, found.length)
                if found.kind == TYPE and (found.inside is not None or found.beside):
                    yield found.id, found.inside, found.beside
                continue
            client, clock, _, forms = found
            self._note_span(client, clock, len(forms))
            # Most stand inside what the same client wrote, which is a look at a few bytes.
            size = len(client)
            for at, form in enumerate(forms, clock):
                if not form:
                    continue
                if form[0] & (_LEFT | _RIGHT) or not form.startswith(client, 2):
                    yield client + number_of(at), *_place(form)
                    continue
                end = 2 + size
                while form[end] >= 0x80:
                    end += 1
                yield client + number_of(at), form[2 : end + 1], ()

    def _note_span(self, client: bytes, clock: int, length: int) -> None:
        last = self.spans[-1] if self.spans else None
        if last is not None and last[0] == client and last[2] == clock:
            self.spans[-1] = client, last[1], clock + length
        else:
            self.spans.append((client, clock, clock + length))

    def all(self) -> Iterator[Struct]:
        """
        Yield every struct; what stands behind the last of them is ``rest``.

        Raises:
            MalformedUpdate: As ``check`` does, but for the delete set.
        """
        return self._structs("all")

    @property
    def rest(self) -> bytes:
        """What was not read yet: the delete set, where all structs were."""
        return self._data[self._at :]

    def check_clients(self, each: int) -> None:
        """
        Refuse an update that claims more clients, of so many bytes each, than it can hold.

        Raises:
            MalformedUpdate: It does.
        """
        self._check_claim(self._number(), each)

    # Many at a time

    def _structs(self, wanted: str) -> Iterator[Struct]:
        for found in self._runs(wanted):
            if isinstance(found, Struct):
                yield found
                continue
            client, clock, start, forms = found
            for at, form in enumerate(forms):
                if form:
                    end = start + len(form)
                    yield Struct(client, clock + at, 1, form[0] & _KIND, *_place(form), start, end)
                    start = end

    def _runs(self, wanted: str) -> Iterator[Struct | tuple[bytes, int, int, Sequence[bytes]]]:
        """Yield structs, and runs of simple ones: client, first clock, where, and what is wanted of each."""
        if self._is_short and next(_long_ways, None):
            yield from self._one_by_one()
            return
        run, simple, text = _patterns(wanted)
        data = self._data
        for client, first, structs in self._blocks():
            clock, count = first, structs
            while count > 0:
                start = self._at
                if taken := run.match(data, start):
                    self._at, forms = taken.end(), simple.findall(data, start, taken.end())
                    if len(forms) > count:
                        # What is behind these looks like more of them, and is not.
                        del forms[count:]
                        self._at = _behind(simple, data, start, count)
                    yield client, clock, start, forms
                    clock, count = clock + len(forms), count - len(forms)
                    continue
                count -= 1
                head = text.match(data, start)
                if head and wanted in {"checked", "nested places"}:
                    # No type, and in no need of a place of its own.
                    self._at = head.start(1)
                    words = self._words()
                    if wanted == "nested places":
                        length = _utf16(words)
                        self._note_span(client, clock, length)
                        clock += length
                    continue
                struct = self._text(head, client, clock) if head else self._struct(client, clock)
                clock += struct.length
                yield struct

    def _blocks(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield each client, its first clock and the number of its structs, standing before the first."""
        for _ in range(self._number()):
            count = self._number()
            client = number_of(self._number())
            yield client, self._number(), count

    def _text(self, head: re.Match[bytes], client: bytes, clock: int) -> Struct:
        """Read a text of any length: most of a conversation's bytes."""
        start, self._at = self._at, head.start(1)
        return Struct(client, clock, _utf16(self._words()), STRING, *_place(head[0]), start, self._at)

    # One at a time

    def _one_by_one(self) -> Iterator[Struct]:
        for client, first, structs in self._blocks():
            clock = first
            for _ in range(structs):
                struct = self._struct(client, clock)
                clock += struct.length
                yield struct

    def _struct(self, client: bytes, clock: int) -> Struct:
        start = self._at
        info = self._byte()
        if info in {GC, SKIP}:
            return Struct(client, clock, self._number(), info, None, (), start, self._at)
        inside, beside = None, tuple(self._id() for flag in (_LEFT, _RIGHT) if info & flag)
        if not beside:
            if self._number() == 1:
                self._words()
            else:
                inside = self._id()
            if info & _KEY:
                self._words()
        length = self._content(info & _KIND)
        return Struct(client, clock, length, info & _KIND, inside, beside, start, self._at)

    def _content(self, kind: int) -> int:
        """Read what an item holds; returns of how many elements it is."""
        if kind == DELETED:
            return self._number()
        if kind == STRING:
            return _utf16(self._words())
        if kind == VALUES:
            count = self._number()
            self._values(count)
            return count
        if kind == TYPE:
            self._type()
        elif kind in {BINARY, EMBED, FORMAT, DOCUMENT}:
            self._words()
            # The value of a format is JSON in a string, that of a subdocument is a plain value.
            if kind == FORMAT:
                self._words()
            elif kind == DOCUMENT:
                self._values(1)
        else:
            # Moves, links, and JSON of before 2020: yrs reads one string more of it than there are.
            raise MalformedUpdate("an update of a kind that can't be checked")
        return 1

    def _type(self) -> None:
        kind = self._number()
        if kind == _XML_ELEMENT:
            self._words()
        elif kind not in _TYPES:
            raise MalformedUpdate("an update of a kind that can't be checked")

    def _values(self, count: int) -> None:
        """Read plain values."""
        # How many are left to be read of every list and object that is open, and whether they have keys.
        opened: list[tuple[int, bool]] = []
        left, has_keys = count, False
        while left or opened:
            if not left:
                left, has_keys = opened.pop()
                continue
            left -= 1
            if has_keys:
                self._words()
            tag = self._byte()
            if tag not in {_LIST, _OBJECT}:
                self._value(tag)
                continue
            opened.append((left, has_keys))
            if len(opened) > DEEPEST_VALUE:
                raise MalformedUpdate("an update whose values are nested too deep")
            left, has_keys = self._number(), tag == _OBJECT
            if has_keys:
                self._check_claim(left, _KEY_BYTES)

    def _value(self, tag: int) -> None:
        if tag in _FIXED:
            self._skip(_FIXED[tag])
        elif tag == _INTEGER:
            self._number()
        elif tag in _WORDS:
            self._words()
        else:
            raise MalformedUpdate("an update with a value of no kind")

    def deletes(self) -> Ranges:
        """
        Return what is deleted, once all structs were read.

        Raises:
            MalformedUpdate: It is cut off, or names a client twice.
        """
        deleted: Ranges = {}
        for _ in range(self._number()):
            client = self._number()
            if client in deleted:
                # Nobody writes so, and yrs would keep only the last of what it says.
                raise MalformedUpdate("an update whose delete set names a client twice")
            deleted[client] = [(self._number(), self._number()) for _ in range(self._number())]
        return deleted

    # Bytes

    def _check_claim(self, number: int, each: int) -> None:
        if number > _HARMLESS and number * each > len(self._data) - self._at:
            raise MalformedUpdate("an update that claims to hold more than it can")

    def _id(self) -> Id:
        return number_of(self._number()) + number_of(self._number())

    def _words(self) -> bytes:
        length = self._number()
        self._skip(length)
        return self._data[self._at - length : self._at]

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise MalformedUpdate("an update that is cut off")

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self._at - 1]

    def _number(self) -> int:
        number = shift = 0
        while (byte := self._byte()) >= 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise MalformedUpdate("an update with a number that is too long")
        return number | byte << shift


def number_of(value: int) -> bytes:
    """Return a varint, as short as can be."""
    if value < 0x80:
        return _BYTES[value]
    if value < 0x4000:
        return _BYTES[value & 0x7F | 0x80] + _BYTES[value >> 7]
    if value < 0x200000:
        return _BYTES[value & 0x7F | 0x80] + _BYTES[value >> 7 & 0x7F | 0x80] + _BYTES[value >> 14]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def split_id(of: Id) -> tuple[bytes, int]:
    """Return the client of an id, as its bytes, and the clock."""
    end = next(at for at, byte in enumerate(of) if byte < 0x80) + 1
    return of[:end], value_of(of[end:])


def value_of(number: bytes) -> int:
    """Return what a varint says."""
    return sum((byte & 0x7F) << 7 * at for at, byte in enumerate(number))


def _utf16(words: bytes) -> int:
    """Return of how many elements a text is."""
    return len(words) if words.isascii() else len(words.decode("utf-8", "replace").encode("utf-16-le")) // 2


# Simple forms

_NUMBER = rb"(?:[\x00-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f])"
_ID = _NUMBER + _NUMBER
_ONE_ID = re.compile(_ID, re.DOTALL)
_ROOT = 1


def _place(form: bytes) -> tuple[Id | None, tuple[Id, ...]]:
    """Return inside or beside what an item of a simple form stands."""
    origins = (form[0] & (_LEFT | _RIGHT)).bit_count()
    if not origins and form[1] == _ROOT:
        return None, ()
    first = _ONE_ID.match(form, 1 if origins else 2)
    assert first is not None
    if origins < 2:
        return (None, (first[0],)) if origins else (first[0], ())
    second = _ONE_ID.match(form, first.end())
    assert second is not None
    return None, (first[0], second[0])


def _behind(simple: re.Pattern[bytes], data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        one = simple.match(data, at)
        assert one is not None
        at = one.end()
    return at


def _shorter(than: int) -> bytes:
    """Return a pattern of strings that are shorter, behind their lengths."""
    lengths = (re.escape(bytes([length])) + b".{%d}" % length for length in range(than))
    return b"(?:" + b"|".join(lengths) + b")"


def _having(kinds: Sequence[int], *flags: int) -> bytes:
    """Return a pattern of the first bytes of items."""
    return b"[" + b"".join(re.escape(bytes([kind | flag])) for kind in kinds for flag in flags) + b"]"


def _in_root(kinds: Sequence[int], key: bytes) -> bytes:
    """Return a pattern of items of some kinds in a root, up to what they hold."""
    first, keyed = _having(kinds, 0) + rb"\x01" + key, _having(kinds, _KEY) + rb"\x01" + key + key
    return b"(?:" + first + b"|" + keyed + b")"


def _nested(kinds: Sequence[int], key: bytes) -> bytes:
    """Return a pattern of items of some kinds inside or beside others, up to what they hold."""
    inside = _having(kinds, 0) + rb"\x00" + _ID + b"|" + _having(kinds, _KEY) + rb"\x00" + _ID + key
    one = _having(kinds, *(flag | has_key for flag in (_LEFT, _RIGHT) for has_key in (0, _KEY))) + _ID
    both = _having(kinds, _LEFT | _RIGHT, _LEFT | _RIGHT | _KEY) + _ID + _ID
    return b"(?:" + b"|".join((inside, one, both)) + b")"


def _item(kinds: Sequence[int], key: bytes) -> bytes:
    """Return a pattern of items of some kinds, up to what they hold."""
    return b"(?:" + _in_root(kinds, key) + b"|" + _nested(kinds, key) + b")"


def _plain(key: bytes, words: bytes) -> bytes:
    """Return a pattern of plain values: at most a short list or object of such as hold no others."""
    flat = rb"(?:[\x78\x79\x7e\x7f]|[\x74\x77]" + words + rb"|\x7d" + _NUMBER + rb"|[\x7a\x7b].{8}|\x7c.{4})"
    listed = b"|".join(re.escape(bytes([n])) + flat + b"{%d}" % n for n in range(3))
    keyed = b"|".join(re.escape(bytes([n])) + b"(?:" + key + flat + b"){%d}" % n for n in range(5))
    return rb"(?:" + flat + rb"|\x75(?:" + listed + rb")|\x76(?:" + keyed + rb"))"


@cache
def _patterns(wanted: str) -> tuple[re.Pattern[bytes], ...]:
    """
    Return patterns of a run of simple structs, of one with what is wanted of it, and of a text up to it.

    To count elements, only structs of one element are simple.
    """
    key, words, kinds = _shorter(40), _shorter(128), rb"[\x00\x01\x02\x04\x06]"
    forms = [_item([VALUES], key) + rb"\x01" + _plain(key, words)]
    if wanted in {"nested types", "nested places"}:
        forms += [_in_root([TYPE], key) + kinds, b"(" + _nested([TYPE], key) + kinds + b")"]
    else:
        forms.append(_item([TYPE], key) + kinds)
    if wanted == "checked":
        forms += [rb"[\x00\x0a]" + _NUMBER, _item([DELETED], key) + _NUMBER]
        forms += [_item([BINARY, STRING, EMBED], key) + words, _item([FORMAT], key) + key + words]
    one = b"(?:" + b"|".join(forms) + b")"
    one = {"checked": one + b"()", "all": b"(" + one + b")"}.get(wanted, one)
    text = _item([STRING], key) + b"(" + _NUMBER + b")"
    run, simple, head = (re.compile(form, re.DOTALL) for form in (b"(?:" + one + b")++", one, text))
    return run, simple, head
