"""Who gets in, and what they may do."""

from syncd.auth.access import AccessDenied, Credentials, Gate, Grant, Right
from syncd.auth.shared import VARIABLE, TokenGate, is_token, load_token, read_token, token_file

__all__ = [
    "VARIABLE",
    "AccessDenied",
    "Credentials",
    "Gate",
    "Grant",
    "Right",
    "TokenGate",
    "is_token",
    "load_token",
    "read_token",
    "token_file",
]
