"""The thin call: one streaming POST, and the one border at which foreign errors become ours."""

from adapters.http.caller import DONE, Caller, Timeouts
from adapters.http.foreign import FOREIGN_ERRORS, map_error, mapped_errors, scheme_of
from adapters.http.refusals import error_in, error_of

__all__ = [
    "DONE",
    "FOREIGN_ERRORS",
    "Caller",
    "Timeouts",
    "error_in",
    "error_of",
    "map_error",
    "mapped_errors",
    "scheme_of",
]
