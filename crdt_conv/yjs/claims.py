"""
What an update claims to hold must fit into its bytes, and no value may be nested without end.

yrs makes room for as many clients, and as many keys of a plain object, as an update announces, before it
reads the first of them: eight bytes can cost half a gigabyte. It recurses over plain lists and objects in
each other, until the process dies. And of a client that is named twice in a delete set it forgets what
the first naming said. So an update that could do any of it is walked through, and refused where it does.

Few short updates could: counting bytes tells. Those that long texts are in nearly all could; walking
through them takes about twice as long as pycrdt takes to decode them.
"""

from __future__ import annotations

import re
from typing import Final

from crdt_conv.yjs.structs import DEEPEST_VALUE, Structs

_CLIENT_BYTES: Final = 3
_LIST, _OBJECT = b"\x75", b"\x76"
_SUSPECT = re.compile(rb"\x76[\x80-\xff]{3}")


def check_claims(update: bytes) -> None:
    """
    Refuse an update that claims to hold more than it can, or is nested too deep.

    Raises:
        MalformedUpdate: It is.
    """
    if update[:1] >= b"\x80":
        Structs(update).check_clients(_CLIENT_BYTES)
    if _may_harm(update):
        Structs(update).check()


def _may_harm(update: bytes) -> bool:
    # An update that deletes nothing ends so. One that is made to end so all the same fools only
    # its sender: yrs leaves some of its deletes undone.
    if not update.endswith(b"\0") or update.startswith(b"\0"):
        return True
    if len(update) > 2 * DEEPEST_VALUE and update.count(_LIST) + update.count(_OBJECT) > DEEPEST_VALUE:
        return True
    return _SUSPECT.search(update) is not None
