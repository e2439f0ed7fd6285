"""Slots: which one, what is restored into it, and when it is saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from adapters.errors import ProviderUnavailable, RequestRefused
from adapters.llamacpp import slots as module
from adapters.llamacpp.checkpoints import Checkpoints, Identity
from adapters.llamacpp.slots import Keeping, Slots, Use

pytestmark = pytest.mark.anyio

MINE = Identity("a" * 64, "build 1", 4096)
LONG = tuple(range(300))
OTHER = tuple(range(1000, 1300))


class Disk:
    """Saves and restores as a server does: names and numbers, and no questions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.held: dict[int, int] = {}
        self.fails: Exception | None = None
        self.writes_half = False

    async def save_slot(self, slot: int, filename: str) -> int:
        self.calls.append(f"save {slot}")
        if self.writes_half:
            (self.folder / filename).write_bytes(b"half")
        if self.fails is not None:
            raise self.fails
        (self.folder / filename).write_bytes(os.urandom(64) + str(self.held[slot]).encode())
        return self.held[slot]

    async def restore_slot(self, slot: int, filename: str) -> int:
        self.calls.append(f"restore {slot}")
        if self.fails is not None:
            raise self.fails
        return int((self.folder / filename).read_bytes()[64:])


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Return a server with an empty folder."""
    return Disk(tmp_path)


def slots_of(disk: Disk, count: int = 1, *, is_branchable: bool = True) -> Slots:
    """Return the slots of a server that has just started."""
    return Slots(count, Keeping(Checkpoints(disk.folder), MINE, is_branchable))


async def call(
    slots: Slots, disk: Disk, prompt: Sequence[int], answer: Sequence[int] = (), cached: int | None = None
) -> Use:
    """Make a call that leaves prompt and answer in its slot."""
    async with slots.use(disk, prompt) as use:
        disk.held[use.slot.number] = len(prompt) + len(answer)
        slots.settle(use, (*prompt, *answer), cached)
    return use


async def test_a_restart_restores_what_was_saved(disk: Disk) -> None:
    """After an answer, saved, a new server has all but what is new."""
    before = slots_of(disk)
    await call(before, disk, LONG, (1, 2))
    await before.save(disk)
    use = await call(slots_of(disk), disk, (*LONG, 1, 2, 3))
    assert (use.common, use.checkpoint is not None) == (len(LONG) + 2, True)
    assert disk.calls == ["save 0", "restore 0"]


async def test_what_the_slot_has_itself_is_not_restored(disk: Disk) -> None:
    """A conversation that goes on reads nothing from disk."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    await slots.save(disk)
    assert (await call(slots, disk, (*LONG, 1))).common == len(LONG)
    assert disk.calls == ["save 0"]


async def test_another_conversation_lets_a_long_one_be_saved_first(disk: Disk) -> None:
    """What would be lost is saved, and found again when the first goes on."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    await call(slots, disk, OTHER)
    use = await call(slots, disk, (*LONG, 1))
    assert (disk.calls, use.common) == (["save 0", "save 0", "restore 0"], len(LONG))


async def test_a_short_one_is_not_worth_the_wait(disk: Disk) -> None:
    """Nobody waits for a checkpoint that is computed as quickly."""
    slots = slots_of(disk)
    await call(slots, disk, LONG[: module.SAVE_FIRST_FROM - 1])
    await call(slots, disk, OTHER)
    assert disk.calls == []


async def test_nothing_is_saved_twice(disk: Disk) -> None:
    """Only what is new makes a slot worth saving again."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    await slots.save(disk)
    await slots.save(disk)
    await call(slots, disk, (*LONG, 1))
    await slots.save(disk)
    assert disk.calls == ["save 0"]


async def test_a_damaged_checkpoint_is_computed_anew(disk: Disk) -> None:
    """It is deleted, never restored, and the next one is made as usual."""
    await call(first := slots_of(disk), disk, LONG)
    await first.save(disk)
    [path] = disk.folder.glob("*.bin")
    path.write_bytes(bytes(path.stat().st_size))
    use = await call(second := slots_of(disk), disk, (*LONG, 1))
    assert (use.common, use.checkpoint, list(disk.folder.glob("*.*"))) == (0, None, [])
    await second.save(disk)
    assert (await call(slots_of(disk), disk, (*LONG, 1))).common == len(LONG) + 1


async def test_a_server_that_restores_nothing_is_computed_by(disk: Disk) -> None:
    """Whatever its 400 means, the checkpoint is worth nothing."""
    await call(first := slots_of(disk), disk, LONG)
    await first.save(disk)
    disk.fails = RequestRefused("Unable to restore slot")
    assert (await call(slots_of(disk), disk, LONG)).common == 0
    assert not list(disk.folder.glob("*.*"))


async def test_a_failed_restore_leaves_an_empty_slot(disk: Disk) -> None:
    """The server clears it: what it held before is not there any more."""
    await call(first := slots_of(disk), disk, LONG)
    await first.save(disk)
    await call(second := slots_of(disk), disk, LONG[:30])
    disk.fails = RequestRefused("Unable to restore slot")
    assert (await call(second, disk, LONG)).common == 0


async def test_a_server_that_dies_while_saving_leaves_nothing(disk: Disk) -> None:
    """Half a file is no checkpoint."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    disk.fails = ProviderUnavailable("gone")
    disk.writes_half = True
    await slots.save(disk)
    assert disk.calls == ["save 0"]
    assert not list(disk.folder.glob("*"))


async def test_nothing_is_kept_of_what_was_redacted(disk: Disk) -> None:
    """Neither what is on disk, nor what would be saved later; other conversations' stays."""
    slots = slots_of(disk, 2)
    for about, prompt in (("mine", LONG), ("other", OTHER)):
        async with slots.use(disk, prompt, {about}) as use:
            disk.held[use.slot.number] = len(prompt)
            slots.settle(use, prompt, None)
    slots.forget_messages({"mine"})
    await slots.save(disk)
    checkpoints = Checkpoints(disk.folder)
    assert checkpoints.find(MINE, LONG) is None
    assert checkpoints.find(MINE, OTHER) is not None
    checkpoints.forget({"other", "x"})
    assert not list(disk.folder.glob("*"))


async def test_a_server_that_has_died_costs_no_checkpoint(disk: Disk) -> None:
    """That is an error of the call, and says nothing about the file."""
    await call(first := slots_of(disk), disk, LONG)
    await first.save(disk)
    disk.fails = ProviderUnavailable("gone")
    with pytest.raises(ProviderUnavailable):
        await call(slots_of(disk), disk, LONG)
    assert len(list(disk.folder.glob("*.*"))) == 2


@pytest.mark.parametrize(("cached", "is_kept"), [(len(LONG) - 1, True), (len(LONG), True), (10, False)])
async def test_a_checkpoint_is_believed_by_the_servers_own_count(
    disk: Disk, cached: int, *, is_kept: bool
) -> None:
    """Restored, and still computed: then it was another's state, and goes."""
    await call(first := slots_of(disk), disk, LONG)
    await first.save(disk)
    await call(slots_of(disk), disk, LONG, cached=cached)
    assert bool(list(disk.folder.glob("*.bin"))) is is_kept


async def test_a_failed_save_loses_nothing_but_itself(disk: Disk) -> None:
    """A full disk is no reason to fail an answer."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    disk.fails = RequestRefused("no space left")
    await slots.save(disk)
    await slots.save(disk)
    assert (disk.calls, list(disk.folder.glob("*.*"))) == (["save 0"], [])


async def test_the_slot_that_has_most_in_common_is_taken(disk: Disk) -> None:
    """Two conversations by turns keep a slot each, and a third takes the one of older use."""
    slots = slots_of(disk, 2)
    prompts = (LONG, OTHER, (*LONG, 1), (*OTHER, 1), tuple(range(2000, 2300)))
    assert [(await call(slots, disk, prompt)).slot.number for prompt in prompts] == [0, 1, 0, 1, 0]


async def test_a_system_message_in_common_takes_no_conversation_away(disk: Disk) -> None:
    """An empty slot does for what has little in common."""
    slots = slots_of(disk, 2)
    await call(slots, disk, LONG)
    assert (await call(slots, disk, (*LONG[:50], 999))).slot.number == 1


async def test_a_call_waits_for_a_free_slot(disk: Disk) -> None:
    """More calls than slots come one after another."""
    slots = slots_of(disk)
    async with anyio.create_task_group() as tasks, slots.use(disk, LONG):
        tasks.start_soon(call, slots, disk, LONG)
        await anyio.wait_all_tasks_blocked()
        assert disk.held == {}
    assert disk.held == {0: len(LONG)}


async def test_slots_are_saved_when_nothing_is_asked(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while an answer comes, and not while there is nothing to save."""
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    slots, is_idle = slots_of(disk), anyio.Event()

    async def wait() -> None:
        await slots.wait_until_idle()
        is_idle.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await call(slots, disk, LONG[:10])
        async with slots.use(disk, LONG) as use:
            slots.settle(use, LONG, None)
            with anyio.move_on_after(0.05) as waited:
                await is_idle.wait()
            assert waited.cancelled_caught
        with anyio.fail_after(5):
            await is_idle.wait()


async def test_a_new_server_holds_nothing(disk: Disk) -> None:
    """What an earlier process had is not taken for granted."""
    slots = slots_of(disk)
    await call(slots, disk, LONG)
    slots.forget()
    assert (await call(slots, disk, LONG)).common == 0


async def test_models_with_recurrence_go_on_where_they_were_saved(disk: Disk) -> None:
    """A branch in the middle is computed anew; what goes on behind the checkpoint is restored."""
    await call(first := slots_of(disk, is_branchable=False), disk, LONG)
    await first.save(disk)
    assert (await call(slots_of(disk, is_branchable=False), disk, (*LONG[:250], 9))).common == 0
    assert (await call(slots_of(disk, is_branchable=False), disk, (*LONG, 9))).common == len(LONG)


async def test_a_state_that_went_too_far_is_no_checkpoint_of_theirs(disk: Disk) -> None:
    """A cancelled answer left more in the slot than we know of: it can't be cut back."""
    slots = slots_of(disk, is_branchable=False)
    await call(slots, disk, LONG)
    disk.held[0] = len(LONG) + 1
    await slots.save(disk)
    assert not list(disk.folder.glob("*.*"))
