"""What strangers write: nothing of it runs, loads anything or leads anywhere, wherever it is shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from crdt_conv import Author, Conversation, Target, new_part
from tests.e2e.programs import Daemon
from tests.web.devices import Device, Open
from tests.web.documents import changed, synced, written

TAGS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<object data=data:text/html,<script>alert(1)</script>></object>",
    "<details open ontoggle=alert(1)>x</details>",
    "<input autofocus onfocus=alert(1)>",
    "<form action=javascript:alert(1)><button id=send>x</button></form>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import 'https://evil.example/x.css'; * { background: url(https://evil.example/) }</style>",
    "<b style='background:url(https://evil.example/x)'>x</b>",
    "<img src=https://evil.example/x.png>",
    "<video src=https://evil.example/x autoplay><source onerror=alert(1)></video>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<a id=location href=https://evil.example/>clobber</a><form name=cookie>",
)
MARKDOWN = (
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](  java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:alert(1))",
    "[x](//evil.example/)",
    "[x](blob:https://evil.example/x)",
    "[x](file:///etc/passwd)",
    '[x](https://a.example/"onmouseover="alert(1))',
    '[x](https://a.example "title\\" onmouseover=alert(1)")',
    "![x](https://evil.example/x.png)",
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](https://evil.example/x.png)',
    "<javascript:alert(1)>",
    "[ref]: javascript:alert(1)\n\n[ref]",
    "```html\n<img src=x onerror=alert(1)>\n```",
    '```"><img src=x onerror=alert(1)>\nx\n```',
    "`<img src=x onerror=alert(1)>`",
    "| <img src=x onerror=alert(1)> |\n| --- |\n| <script>alert(1)</script> |",
    "# <svg onload=alert(1)>",
    "- [ ] <img src=x onerror=alert(1)>",
    "> " * 300 + "<img src=x onerror=alert(1)>",
)
NAMES = ("<img src=x onerror=alert(1)>", "../../etc/passwd", "\u202egpj.exe", "a\"onload='alert(1)")


def hostile(made: Conversation) -> None:
    """Write all of it, in every kind of part, and under every kind of name."""
    for text in (*TAGS, *MARKDOWN):
        made.append("user", text, author=Author("human", TAGS[1], TAGS[1]))
    made.append("assistant", parts=[new_part("reasoning", text=text) for text in TAGS[:3]], model=TAGS[1])
    call = new_part("tool_call", call_id="c", name=TAGS[1], arguments=f'{{"x": "{TAGS[1]}"}}')
    made.append("assistant", parts=[call])
    made.append("tool", parts=[new_part("tool_result", call_id="c", content=TAGS[1], is_error=False)])
    made.append("user", parts=[new_part(TAGS[1], text=TAGS[1])])
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
    for name in NAMES:
        for mime in ("image/svg+xml", "text/html", "image/png", TAGS[1]):
            made.append("user", parts=[made.attach_bytes(svg, mime=mime, name=name)])
    made.fork(TAGS[1], made.heads()[0].id)
    made.append("user", TAGS[1], branch=TAGS[1])
    made.rename_branch(TAGS[1], TAGS[0])
    made.set_draft(TAGS[1])
    failed = made.runs.request(Target(TAGS[1], TAGS[1]), TAGS[1])
    with made.writing() as document:
        document.put(
            "runs", failed.id, {**failed.as_json(), "state": "failed", "error": {"message": TAGS[1]}}
        )


FOUND = """() => ({
  elements: [...document.querySelectorAll('article *')]
    .filter((one) => one.matches('script, iframe, object, style, form, base, meta, link, video, .prose img'))
    .map((element) => element.outerHTML),
  handlers: [...document.querySelectorAll('body *')].flatMap(({ attributes }) =>
    [...attributes].filter(({ name }) => name.startsWith('on')).map(({ value }) => value)),
  links: [...document.querySelectorAll('article a')].filter((link) => link.hasAttribute('href'))
    .filter(({ href, target, rel }) =>
      !/^(https?|mailto):/.test(href) || target !== '_blank' || !/noopener/.test(rel))
    .map((link) => link.outerHTML),
  moved: document.baseURI !== location.href,
})"""
NOTHING = {"elements": [], "handlers": [], "links": [], "moved": False}


def walk(one: Device) -> None:
    """Scroll from the end of a conversation to its beginning, and look at each message on the way."""
    expect(one.messages.last).to_be_visible()
    log = one.page.locator(".log")
    while True:
        assert one.page.evaluate(FOUND) == NOTHING
        if one.page.locator("[aria-posinset='1']").count():
            return
        log.evaluate("""async (log) => {
          log.scrollTop -= log.clientHeight * 0.8
          await new Promise(requestAnimationFrame)
          await new Promise(requestAnimationFrame)
        }""")


def test_messages_of_strangers_do_nothing(server: Daemon, device: Open) -> None:
    """All of it is text: no element of theirs, no handler, no link but to the web, in a page of its own."""
    conversation = written(server.url, TAGS[1], hostile)
    one = device().sign_in(at=f"/{conversation}")
    walk(one)
    assert one.page.title() == f"{TAGS[1]} · crdt-conv"
    expect(one.page.get_by_text(TAGS[0], exact=True).first).to_be_visible()


@pytest.mark.parametrize("panel", ["graph", "inspect", "explain"])
def test_nor_do_they_beside_the_log(server: Daemon, device: Open, panel: str) -> None:
    """Titles, names, branches, errors and drafts, wherever the page shows them."""
    conversation = written(server.url, TAGS[1], hostile)
    one = device().sign_in(at=f"/{conversation}?branch={quote(TAGS[1], safe='')}&panel={panel}")
    expect(one.page.get_by_role("complementary").first).to_contain_text("onerror=alert(1)")
    expect(one.page.get_by_role("alert").filter(has_text=TAGS[1]).first).to_be_visible()
    for item in ("Merge a branch…", "Branch settings…"):
        one.choose("Conversation menu", item)
        expect(one.page.get_by_role("dialog")).to_contain_text(
            "script" if item.startswith("Merge") else "img"
        )
        one.button("Close", one.page.get_by_role("dialog")).click()
    one.page.get_by_role("searchbox").fill("onerror")
    expect(one.page.get_by_role("navigation").get_by_role("link").first).to_contain_text("onerror")
    assert one.page.evaluate(FOUND) == NOTHING


def test_nor_does_what_comes_bit_by_bit(server: Daemon, device: Open) -> None:
    """A tag that is whole only at the end of a stream, while somebody looks."""
    conversation = written(server.url, "Stream", lambda made: made.append("user", "Go on."))
    one = device().sign_in(at=f"/{conversation}")
    one.shows("Go on.")

    def stream(made: Conversation) -> None:
        writer = made.stream("assistant")
        for text in TAGS[1:3]:
            for at in range(0, len(text), 8):
                writer.write(text[at : at + 8])
                synced(server.url, made)

    changed(server.url, conversation, stream)
    expect(one.answers).to_contain_text(TAGS[2])
    assert one.page.evaluate(FOUND) == NOTHING


def test_a_name_of_somebody_who_is_here_does_nothing(server: Daemon, device: Open) -> None:
    """It comes by awareness, from whoever has a token."""
    conversation = written(server.url, "Here", lambda made: made.append("user", "Hello."))
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    phone.button("Settings").click()
    phone.page.get_by_role("textbox", name="Your name").fill(TAGS[1])
    phone.button("Done").click()
    expect(laptop.page.get_by_role("list", name="Also here")).to_contain_text(TAGS[1])
    phone.say("It is me.", ask=False)
    expect(laptop.page.get_by_role("article", name=f"Message from {TAGS[1]}")).to_be_visible()
    assert laptop.page.evaluate(FOUND) == NOTHING
