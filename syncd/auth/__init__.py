"""Who gets in, and what they may do."""

from syncd.auth.access import AccessDenied, Credentials, Gate, Grant, Right
from syncd.auth.gates import AnyOf, CallableGate
from syncd.auth.keys import keys_file
from syncd.auth.revocations import revocations_file
from syncd.auth.shared import VARIABLE, TokenGate, is_token, load_token, read_token, token_file
from syncd.auth.tokens import JwtGate, polled

__all__ = [
    "VARIABLE",
    "AccessDenied",
    "AnyOf",
    "CallableGate",
    "Credentials",
    "Gate",
    "Grant",
    "JwtGate",
    "Right",
    "TokenGate",
    "is_token",
    "keys_file",
    "load_token",
    "polled",
    "read_token",
    "revocations_file",
    "token_file",
]
