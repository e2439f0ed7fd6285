"""The executor of a session, which can be exchanged for one with another model."""

from __future__ import annotations

import anyio
from anyio.abc import TaskStatus

from crdt_conv import Conversation, Target
from syncd.cli.running import asked, executing
from syncd.cli.workspace import Workspace
from syncd.models import LocalModel, adapter_of
from syncd.tools import Toolset


class ChatExecutor:
    """Fulfils the runs of one conversation in a task of its own, unless a daemon does."""

    def __init__(
        self, workspace: Workspace, conversation: Conversation, wanted: Target, context: int, toolset: Toolset
    ) -> None:
        self._workspace = workspace
        self._conversation = conversation
        self._wanted = wanted
        self._context = context
        self._toolset = toolset
        self._scope = anyio.CancelScope()
        self._ready = anyio.Event()

    @property
    def wanted(self) -> Target:
        """Which model is chosen."""
        return self._wanted

    @property
    def target(self) -> Target:
        """What stands in runs."""
        return asked(self._workspace, self._wanted)

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Fulfil runs until cancelled, also those that waited before."""
        while True:
            with anyio.CancelScope() as self._scope:
                running = executing(self._workspace, self._wanted, self._context, self._toolset)
                async with running as executor:
                    if executor is not None:
                        executor.offer(self._conversation)
                    self._begun(task_status)
                    await anyio.sleep_forever()

    def _begun(self, task_status: TaskStatus[None]) -> None:
        if not self._ready.is_set():
            self._ready.set()
            task_status.started()

    async def use(self, wanted: Target) -> None:
        """
        Use another model from now on.

        Raises:
            InvalidMessage: There is no such adapter, or it has to be told which model.
            AdapterError: It can't be had here.
        """
        if not self._workspace.is_through_daemon:
            adapter_of(wanted, local=LocalModel(context_tokens=self._context))
        self._wanted = wanted
        self._scope.cancel()
