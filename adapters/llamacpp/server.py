"""
llama-server as a supervised child process.

States: ``starting`` → ``ready`` → (the child died) ``restarting`` → ``ready``, or
``failed`` when it did not come back. A restart waits, twice as long each time, and
forgets that after a minute of health. The child's address changes with a restart.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import anyio
from anyio.abc import ByteReceiveStream, Process, TaskGroup

from adapters.errors import ModelUnavailable, ProviderUnavailable
from adapters.llamacpp.model import check_model

State: TypeAlias = Literal["starting", "ready", "restarting", "failed"]

START_S = 300.0
STOP_S = 5.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
HEALTHY_S = 60.0
MAX_RESTARTS = 8
_LOG_LINES = 20


class LlamaServer:
    """A llama-server on this machine, for as long as the context is open."""

    def __init__(
        self, model: Path, *, context_tokens: int = 8192, threads: int | None = None, slots: int = 1
    ) -> None:
        """
        Prepare a server; entering the context starts it.

        Args:
            model: A GGUF file.
            context_tokens: How much one slot reads and writes at most.
            threads: Processor threads; llama.cpp's choice, where it is left out.
            slots: How many answers at once.
        """
        self.model = model
        self.api_key = secrets.token_urlsafe(24)
        self.state: State = "starting"
        self._wanted = {
            "model": str(model),
            "api_key": self.api_key,
            "context_tokens": context_tokens * slots,
            "threads": threads,
            "slots": slots,
        }
        self._url = ""
        self._process: Process | None = None
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._changed = anyio.Event()
        self._tasks: TaskGroup

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._process.pid if self._process is not None else None

    async def __aenter__(self) -> Self:
        """
        Start the child, and wait until the model is loaded.

        Raises:
            ModelUnavailable: It can't be loaded; the text is one line.
        """
        check_model(self.model)
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._tasks.start_soon(self._supervise)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        with anyio.CancelScope(shield=True):
            await self._stop()

    async def url(self) -> str:
        """
        Return where the server listens, waiting for a restart that is under way.

        Raises:
            ProviderUnavailable: It died and does not come back.
        """
        while self.state != "ready":
            if self.state == "failed":
                raise ProviderUnavailable(f"llama.cpp died and does not come back{self._last_words()}")
            await self._changed.wait()
        return self._url

    def _set(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self._changed = anyio.Event()

    async def _start(self) -> None:
        self._process = await anyio.open_process(
            [sys.executable, "-m", "adapters.llamacpp.child"], stderr=subprocess.PIPE, start_new_session=True
        )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._tasks.start_soon(self._keep_log, process.stderr)
        with anyio.move_on_after(START_S):
            try:
                await process.stdin.send(json.dumps(self._wanted).encode() + b"\n")
                self._url = _url(await _first_line(process.stdout))
                self._set("ready")
                return
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
                pass
        await self._stop()
        raise ModelUnavailable(f"llama.cpp did not start with {self.model}{self._last_words()}")

    async def _supervise(self) -> None:
        restarts, delay_s = 0, FIRST_DELAY_S
        while self._process is not None:
            started_s = anyio.current_time()
            await self._process.wait()
            self._set("restarting")
            if anyio.current_time() - started_s > HEALTHY_S:
                restarts, delay_s = 0, FIRST_DELAY_S
            if restarts == MAX_RESTARTS:
                break
            await anyio.sleep(delay_s)
            restarts, delay_s = restarts + 1, min(delay_s * 2, LONGEST_DELAY_S)
            try:
                await self._start()
            except ModelUnavailable:
                # Counted; the next turn of the loop waits longer. Its process has ended.
                continue
        self._set("failed")

    async def _keep_log(self, stderr: ByteReceiveStream) -> None:
        try:
            async for chunk in stderr:
                self._log.extend(chunk.decode(errors="replace").splitlines())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None and process.stdin is not None:
            await process.stdin.aclose()
            with anyio.move_on_after(STOP_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
        await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()

    def _last_words(self) -> str:
        wrong = [line for line in self._log if " E " in line or "error" in line.lower()]
        return f": {wrong[-1].strip()[:200]}" if wrong else ""


def _url(line: bytes) -> str:
    """Read the child's one line of answer."""
    answer = json.loads(line)
    if "error" in answer:
        raise ModelUnavailable(str(answer["error"]).splitlines()[0])
    return str(answer["url"])


async def _first_line(stdout: ByteReceiveStream) -> bytes:
    line = b""
    try:
        while not line.endswith(b"\n"):
            line += await stdout.receive()
    except anyio.EndOfStream:
        # What came is no whole line, and so no JSON: the caller says what the log says.
        return b""
    return line
