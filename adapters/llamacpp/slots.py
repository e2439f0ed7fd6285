"""
The slots of one llama-server of our own: what each holds, and what is better read from disk.

A call gets the free slot that has most in common with its prompt. Where a checkpoint
has more, it is restored first. What a slot holds and no checkpoint does is saved when
the server is idle, when something else is to take its place, and at the end: never
while an answer comes, since the server does one thing at a time.

After each call the server's own count says whether the state was what we took it for;
a checkpoint that was not is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread

from adapters.errors import AdapterError
from adapters.llamacpp.checkpoints import Checkpoints, Found, Identity

IDLE_S = 1.0
"""How long nothing is asked before slots are saved."""
SAVE_FROM = 64
"""New tokens that are worth a checkpoint."""
SAVE_FIRST_FROM = 256
"""New tokens that are worth letting somebody else wait for their checkpoint."""
RESTORE_FROM = 32
"""How many tokens a checkpoint must have more than a slot."""
MAX_RESTORES = 3

logger = logging.getLogger("adapters")


class SlotServer(Protocol):
    """What is asked of a server."""

    async def save_slot(self, slot: int, filename: str) -> int:
        """Write a slot's state, and return how many tokens it is of."""

    async def restore_slot(self, slot: int, filename: str) -> int:
        """Read a slot's state, and return how many tokens it is of."""


@dataclass(slots=True)
class Slot:
    """
    One slot.

    ``tokens`` are those whose state it holds, as far as we know; the first ``saved`` of them
    are in a checkpoint. ``about`` are the messages that they were made of.
    """

    number: int
    tokens: tuple[int, ...] = ()
    saved: int = 0
    about: frozenset[str] = frozenset()
    is_busy: bool = False
    used: int = 0

    @property
    def unsaved(self) -> int:
        """How many tokens' state only this slot has."""
        return len(self.tokens) - self.saved


@dataclass(slots=True)
class Use:
    """A slot during one call: what of the prompt need not be computed, and by which checkpoint."""

    slot: Slot
    common: int
    checkpoint: Found | None = None
    prompt: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where checkpoints are kept, and for what; ``is_branchable`` as ``gguf.is_branchable`` says."""

    checkpoints: Checkpoints
    identity: Identity
    is_branchable: bool = True


class Slots:
    """The slots of one server, from one start of it to the next."""

    def __init__(self, count: int, keeping: Keeping | None = None) -> None:
        """
        Begin with empty slots.

        Args:
            count: How many the server has.
            keeping: Where their states are kept; nowhere, where it is left out.
        """
        self._slots = [Slot(number) for number in range(count)]
        self._keeping = keeping
        self._forgotten: set[str] = set()
        self._clock = 0
        self._changed = anyio.Event()

    def keep_in(self, keeping: Keeping) -> None:
        """Keep states there from now on."""
        self._keeping = keeping

    def forget(self) -> None:
        """Take all slots for empty: the server has started anew."""
        for slot in self._slots:
            slot.tokens, slot.saved = (), 0

    def forget_messages(self, messages: Collection[str]) -> None:
        """Save nothing that was computed from any of these."""
        self._forgotten.update(messages)

    @asynccontextmanager
    async def use(
        self, server: SlotServer, prompt: Sequence[int], about: Iterable[str] = ()
    ) -> AsyncIterator[Use]:
        """
        Hold the best slot for a prompt, its state restored where that helps.

        Args:
            server: Whose slots they are.
            prompt: Its tokens.
            about: The messages that it was made of.
        """
        slot = await self._take(prompt)
        try:
            use = await self._prepare(server, slot, tuple(prompt))
            slot.about = frozenset(about)
            yield use
        finally:
            slot.is_busy = False
            self._notify()

    async def again(self, use: Use, server: SlotServer, tokens: Sequence[int]) -> None:
        """Prepare the slot of a call once more: its server has started anew."""
        fresh = await self._prepare(server, use.slot, tuple(tokens))
        use.common, use.checkpoint, use.prompt = fresh.common, fresh.checkpoint, fresh.prompt

    async def _take(self, prompt: Sequence[int]) -> Slot:
        while not (free := [slot for slot in self._slots if not slot.is_busy]):
            await self._changed.wait()
        slot = max(free, key=lambda slot: _fitness(slot, prompt))
        slot.is_busy = True
        self._clock += 1
        slot.used = self._clock
        return slot

    async def _prepare(self, server: SlotServer, slot: Slot, prompt: tuple[int, ...]) -> Use:
        common = common_length(slot.tokens, prompt)
        keeping = self._keeping
        if keeping is None:
            return Use(slot, common, prompt=prompt)
        if slot.unsaved >= SAVE_FIRST_FROM and max(common, slot.saved) < len(slot.tokens) - SAVE_FIRST_FROM:
            await self._save(server, slot, keeping)
        if common < len(slot.tokens) and not keeping.is_branchable:
            # The server may still have a state of its own to go back to; it says so afterwards.
            common = 0
        for _ in range(MAX_RESTORES):
            found = keeping.checkpoints.find(keeping.identity, prompt, is_whole=not keeping.is_branchable)
            if found is None or found.common < common + RESTORE_FROM:
                break
            if await self._restore(server, slot, found, keeping):
                slot.tokens, slot.saved = prompt[: found.common], found.common
                return Use(slot, found.common, found, prompt)
            common = common_length(slot.tokens, prompt)
        return Use(slot, common, prompt=prompt)

    async def _restore(self, server: SlotServer, slot: Slot, found: Found, keeping: Keeping) -> bool:
        checkpoints = keeping.checkpoints
        if not await anyio.to_thread.run_sync(checkpoints.is_intact, found):
            logger.warning("the checkpoint %s is damaged: it was deleted", found.id)
            return False
        # Whatever comes of it, what the slot had is gone.
        slot.tokens, slot.saved = (), 0
        try:
            restored = await server.restore_slot(slot.number, found.filename)
        except AdapterError as error:
            if error.is_retryable:
                raise
            restored = -1
        if restored < found.manifest.tokens:
            logger.warning("the checkpoint %s could not be restored: it was deleted", found.id)
            checkpoints.delete(found.id)
            return False
        checkpoints.touch(found)
        return True

    def settle(self, use: Use, tokens: Sequence[int], cached: int | None) -> bool:
        """
        Take in what a call left in its slot, and whether it found there what was expected.

        Args:
            use: The call's.
            tokens: Whose state the slot holds now.
            cached: How many tokens of the prompt the server did not compute, where it said so.

        Returns:
            Whether a checkpoint turned out to be worthless.
        """
        slot = use.slot
        slot.saved = min(slot.saved, common_length(slot.tokens, tokens))
        slot.tokens = tuple(tokens)
        # One token of a prompt is always computed.
        expected = min(use.common, len(use.prompt) - 1)
        if use.checkpoint is None or cached is None or cached >= expected or self._keeping is None:
            return False
        logger.warning("the checkpoint %s was of no use: it was deleted", use.checkpoint.id)
        self._keeping.checkpoints.delete(use.checkpoint.id)
        slot.saved = 0
        return True

    # Saving

    async def wait_until_idle(self) -> None:
        """Return once there is something to save, and nothing was asked for a while."""
        while True:
            changed = self._changed
            if not self._is_dirty() or any(slot.is_busy for slot in self._slots):
                await changed.wait()
                continue
            with anyio.move_on_after(IDLE_S):
                await changed.wait()
            if changed is self._changed:
                return

    async def wait_until_free(self) -> None:
        """Return once no call is on its way."""
        while any(slot.is_busy for slot in self._slots):
            await self._changed.wait()

    async def save(self, server: SlotServer) -> None:
        """Save every slot that holds enough that no checkpoint does."""
        for slot in self._slots:
            if self._keeping is not None and not slot.is_busy and slot.unsaved >= SAVE_FROM:
                slot.is_busy = True
                try:
                    await self._save(server, slot, self._keeping)
                finally:
                    slot.is_busy = False
                    self._notify()

    async def _save(self, server: SlotServer, slot: Slot, keeping: Keeping) -> None:
        checkpoints, tokens = keeping.checkpoints, slot.tokens
        # Not tried again, if it fails: the next answer makes it worth another try.
        slot.saved = len(tokens)
        if not checkpoints.has_room_for(len(tokens)) or not slot.about.isdisjoint(self._forgotten):
            return
        checkpoint_id = checkpoints.new_id()
        try:
            saved = await server.save_slot(slot.number, f"{checkpoint_id}.bin")
        except AdapterError as error:
            logger.warning("a checkpoint could not be saved: %s", error)
            checkpoints.delete(checkpoint_id)
            return
        if saved != len(tokens) and not keeping.is_branchable:
            checkpoints.delete(checkpoint_id)
            return
        about = slot.about

        def add() -> None:
            kept, is_kept = tokens[:saved], not keeping.is_branchable
            checkpoints.add(checkpoint_id, keeping.identity, kept, about=about, keeps_shorter=is_kept)

        await anyio.to_thread.run_sync(add)
        if not about.isdisjoint(self._forgotten):
            # Redacted while it was being written.
            checkpoints.delete(checkpoint_id)

    def _is_dirty(self) -> bool:
        return self._keeping is not None and any(slot.unsaved >= SAVE_FROM for slot in self._slots)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _fitness(slot: Slot, prompt: Sequence[int]) -> tuple[int, int, int]:
    """Return how well a slot suits a prompt; the largest does best."""
    common = common_length(slot.tokens, prompt)
    # A system message in common is no reason to throw a long conversation away.
    is_continued = common * 2 >= len(slot.tokens) and common > 0
    return (common if is_continued else 0, int(not slot.tokens), -slot.used)


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """
    Return how many tokens two sequences begin with in common.

    Example:
        >>> common_length((1, 2, 3), (1, 2, 4, 5))
        2
    """
    length = min(len(first), len(second))
    if tuple(first[:length]) == tuple(second[:length]):
        return length
    return next(place for place in range(length) if first[place] != second[place])
