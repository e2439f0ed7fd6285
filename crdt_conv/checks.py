"""What a caller may give: names and texts that every replica can hold."""

from __future__ import annotations

from crdt_conv.errors import InvalidMessage


def check_branch(branch: str) -> None:
    """
    Refuse what is no branch name.

    Raises:
        InvalidMessage: It is none.
    """
    if not branch or len(branch) > 200 or not branch.isprintable():
        raise InvalidMessage(f"no branch name: {branch!r} (1 to 200 printable characters)")


def check_text(text: str) -> None:
    """
    Refuse what can't be text in a document.

    Raises:
        InvalidMessage: It is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("the text holds half a surrogate pair, which UTF-8 can't carry") from None
