"""Why a push is not taken."""

from __future__ import annotations

import errno
from http import HTTPStatus

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refusal(Exception):
    """A push is not taken. `status` says whose fault that is, the message what was wrong."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


def bad_archive(message: str) -> Refusal:
    """The body is not what it should be."""
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def too_large(message: str) -> Refusal:
    """The body is more than this server takes."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)


def refused_write(error: OSError) -> Refusal:
    """The disk did not take it."""
    if error.errno in _NO_ROOM:
        return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, "this server has no room left on its disk")
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"this server cannot write: {error.strerror}")
