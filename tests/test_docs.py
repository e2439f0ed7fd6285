"""The documentation does what it says: its examples, its links, and the site that is made of it."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TEXTS = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "bench" / "RESULTS.md"])
PAGES = [path for path in DOCS.rglob("*.md") if ">>> " in path.read_text()]
CODE = re.compile(r"^(```+).*?^\1`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SITE_PYTHON = ROOT / ".venv-docs" / "bin" / "python"
REFERENCE = {
    "crdt_conv": "crdt_conv.md",
    "adapters": "adapters.md",
    "adapters.exchange": "exchange.md",
    "syncd.client": "syncd.md",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_true(page: Path) -> None:
    """Every example of a page prints what stands below it."""
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried > 0) == (0, True)


def test_there_are_examples() -> None:
    """The check above looks at something."""
    assert {DOCS / name for name in ("adapters.md", "concepts.md", "library.md", "tools.md")} <= set(PAGES)


def prose(text: str) -> str:
    """Return a page without its blocks of code and its spans of code."""
    return re.sub(r"`[^`\n]+`", "code", CODE.sub("", text))


def links(path: Path) -> Iterator[str]:
    """Yield where a page leads to, here in the tree."""
    for target in LINK.findall(prose(path.read_text())):
        if not re.match(r"[a-z][a-z0-9+.-]*:", target):
            yield target


def anchors(path: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", CODE.sub("", path.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        kept = "".join(
            one for one in text if one in " -_" or unicodedata.category(one)[0] in "LN" or one.isalnum()
        )
        name = kept.replace(" ", "-")
        earlier = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in found)
        found.append(f"{name}-{earlier}" if earlier else name)
    return set(found)


def leads_somewhere(link: str, page: Path, root: Path) -> bool:
    """Whether a link of a page leads to a file of the tree, and to a heading that it has."""
    target, _, anchor = link.partition("#")
    there = (page.parent / target).resolve() if target else page
    if not there.is_relative_to(root) or not there.exists():
        return False
    return not anchor or anchor in anchors(there)


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """Return the links of a page that lead nowhere."""
    return [link for link in links(page) if not leads_somewhere(link, page, root)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every file and heading that a page links to is in the tree."""
    assert broken(path) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A missing file, a missing heading and a way out of the tree count; code and addresses don't."""
    (tmp_path / "other.md").write_text("# One `two`, three\n\n## Again\n\n## Again\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](gone.md) [b](other.md#gone) [c](other.md#one-two-three) [d](https://x.example/y)\n"
        "[e](#here) [![f](gone.svg)](other.md#again-1) `[g](code.md)` [h](../out.md) [i](other.md#again-2)\n"
        "![j](other.md)\n"
        "```\n[k](block.md)\n# not-here\n```\n## Here\n[l](#not-here)\n"
    )
    assert broken(page, tmp_path) == [
        "gone.md",
        "other.md#gone",
        "gone.svg",
        "../out.md",
        "other.md#again-2",
        "#not-here",
    ]


def test_every_page_is_in_the_site() -> None:
    """Each page of docs/ stands in a table of contents: a reader of the site finds it."""
    listed: set[Path] = {DOCS / "index.md"}
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed.update(found for name in names for found in page.parent.glob(f"{name}.md"))
    assert listed == set(DOCS.rglob("*.md"))


@pytest.mark.parametrize("module", REFERENCE)
def test_the_reference_holds_every_public_name(module: str) -> None:
    """What ``__all__`` names has an entry in the reference, or in that of the port."""
    pages = {REFERENCE[module], "exchange.md"}
    text = "".join((DOCS / "reference" / page).read_text() for page in pages)
    entries = {name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)}
    assert set(importlib.import_module(module).__all__) - entries == set()


def site_python() -> str | None:
    """Return a Python that has what makes the site."""
    if all(importlib.util.find_spec(name) for name in ("sphinx", "myst_parser", "furo")):
        return sys.executable
    return str(SITE_PYTHON) if SITE_PYTHON.parents[1].joinpath(".installed").exists() else None


@pytest.mark.skipif(site_python() is None, reason="Sphinx is not installed: make test does that")
def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    """``make docs``: Sphinx finds nothing to say, and no page asks another host for anything."""
    command = [str(site_python()), "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pages = list((tmp_path / "site").rglob("*.html"))
    asked = re.compile(r"<(?:script|img|iframe)[^>]* src=\"https?:|<link[^>]* href=\"https?:")
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    assert [page.name for page in pages if asked.search(page.read_text())] == []
