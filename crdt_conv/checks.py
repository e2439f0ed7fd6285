"""What a caller may give: names and texts that every replica can hold."""

from __future__ import annotations

from typing import Final

from crdt_conv.errors import InvalidMessage

LONGEST_BRANCH: Final = 200


def check_branch(branch: str) -> None:
    """
    Refuse what is no branch name.

    Raises:
        InvalidMessage: It is none.
    """
    if not branch or len(branch) > LONGEST_BRANCH or not branch.isprintable():
        raise InvalidMessage(f"no branch name: {branch!r} (1 to {LONGEST_BRANCH} printable characters)")


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
