"""
Files of other programs on their way in: ``python -m bench.imports [FILE…]``.

Without a file, an export of ChatGPT's with 1,000 conversations of 50 messages is made, and chat JSON
lines of the same. Each is imported in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import conversations as synthetic
from crdt_conv import Store
from syncd.interchange import Findings, conversations, id_of, put_in

CONVERSATIONS = 1_000
MESSAGES = 50


def chatgpt(number: int) -> dict[str, Any]:
    """Return a conversation as ChatGPT exports it."""
    mapping: dict[str, Any] = {"root": {"id": "root", "parent": None, "message": None}}
    before = "root"
    for at, message in enumerate(synthetic.messages(MESSAGES)):
        key = f"{number}-{at}"
        content = {"content_type": "text", "parts": [message.text]}
        said = {"id": key, "author": {"role": message.role}, "create_time": 1.7e9 + at, "content": content}
        mapping[key] = {"id": key, "parent": before, "message": said}
        before = key
    return {"id": str(number), "title": f"Talk {number}", "mapping": mapping, "current_node": before}


def made(folder: Path) -> Iterator[Path]:
    """Write files to import, and yield them."""
    whole, lines = folder / "conversations.json", folder / "chat.jsonl"
    with whole.open("w") as file:
        for number in range(CONVERSATIONS):
            file.write(("," if number else "[") + json.dumps(chatgpt(number)))
        file.write("]")
    yield whole
    with lines.open("w") as file:
        for number in range(CONVERSATIONS):
            said = [{"role": m.role, "content": m.text} for m in synthetic.messages(MESSAGES)]
            file.write(json.dumps({"id": number, "title": f"Talk {number}", "messages": said}) + "\n")
    yield lines


def measure(path: Path, db: Path) -> dict[str, float]:
    """Return what a file costs: seconds, CPU seconds, and the peak of memory in MB, of this process."""
    count, findings = 0, Findings()
    began, before_s = time.perf_counter(), time.process_time()
    with Store(db) as store:
        for found in conversations(path, findings):
            count += put_in(store.join(id_of(found)), found, findings).messages
    seconds, megabytes = time.perf_counter() - began, path.stat().st_size / 1e6
    return {
        "MB": megabytes,
        "messages": count,
        "s": seconds,
        "CPU s": time.process_time() - before_s,
        "MB/s": megabytes / seconds,
        "messages/s": count / seconds,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "disk MB": sum(file.stat().st_size for file in db.parent.glob(f"{db.name}*")) / 1e6,
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    with tempfile.TemporaryDirectory() as folder:
        files = parser.parse_args().files or list(made(Path(folder)))
        for number, file in enumerate(files):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures = pool.apply(measure, (file, Path(folder) / f"{number}.db"))
            shown = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
            print(f"{file.name}: {shown}", flush=True)


if __name__ == "__main__":
    main()
