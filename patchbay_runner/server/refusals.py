"""Why a request is not served: a status, and what the reply says."""

from __future__ import annotations

import msgspec

# Status to the word that programs go by; docs/reference/http-api.md has the same table.
CODES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    416: "range_not_satisfiable",
    421: "misdirected",
    500: "internal",
    503: "busy",
}


class Refusal(Exception):
    """A request that is answered by an error. `headers` go with it."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.message = message
        self.headers = headers or {}
        super().__init__(f"{status}: {message}")

    @property
    def body(self) -> bytes:
        return error_body(self.status, self.message)


class ErrorText(msgspec.Struct, frozen=True):
    """What went wrong, for programs and for people."""

    code: str
    message: str


class ErrorReply(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: ErrorText


def error_body(status: int, message: str) -> bytes:
    """The body of an error with this status."""
    return msgspec.json.encode(ErrorReply(ErrorText(CODES.get(status, "error"), message)))


def not_found(what: str) -> Refusal:
    """There is no such thing, or not yet."""
    return Refusal(404, f"there is no {what}")
