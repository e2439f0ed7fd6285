"""A cable between a browser and the daemon that can be pulled: sockets die, or just fall silent."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class Cable:
    """Carries bytes between its own port and the daemon's, from a thread of its own."""

    def __init__(self, port: int) -> None:
        """
        Lay a cable.

        Args:
            port: The daemon's, on loopback.
        """
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._others: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_cut = self._is_silent = self._is_over = False
        self._thread = threading.Thread(target=self._carry)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    def cut(self) -> None:
        """Have every socket end at once, and new ones as soon as they come."""
        with self._lock:
            self._is_cut = True
            for one in tuple(self._others):
                self._end(one)

    def hush(self) -> None:
        """Carry nothing on, and tell nobody: as a network does that is gone without a word."""
        self._is_silent = True

    def mend(self) -> None:
        """Carry again; what fell silent goes on with what was held up."""
        self._is_cut = self._is_silent = False

    def _carry(self) -> None:
        while not self._is_over:
            ready = self._selector.select(0.02)
            if self._is_silent:
                # What comes stays where it is: the selector would tell of it all the time.
                self._pause()
                continue
            with self._lock:
                for key, _ in ready:
                    self._take(key.fileobj)

    def _pause(self) -> None:
        while self._is_silent and not self._is_over:
            threading.Event().wait(0.02)

    def _take(self, ready: object) -> None:
        assert isinstance(ready, socket.socket)
        if ready is self._listener:
            self._accept()
        elif ready in self._others:
            self._pass_on(ready)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._is_cut:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data:
                self._others[one].sendall(data)
                return
        except OSError:
            pass
        self._end(one)

    def _end(self, one: socket.socket) -> None:
        for each in (one, self._others.get(one)):
            if each is not None and self._others.pop(each, None) is not None:
                self._selector.unregister(each)
                each.close()
