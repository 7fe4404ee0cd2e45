"""Working as the user behind sudo.

What is fetched and built goes to that user's cache and to their project. Doing that work with their rights, rather than
handing files over afterwards, leaves nothing of root's in either, and root never follows a link that the user has put
there.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """Who the work is done for. `user` is a uid and gid to change to; None is whoever runs."""

    home: Path
    user: tuple[int, int] | None = None


def caller(environment: Mapping[str, str], user: tuple[int, int] | None) -> Caller:
    """The caller, with the home directory that /etc/passwd has for the user behind sudo."""
    if user is not None:
        try:
            return Caller(Path(pwd.getpwuid(user[0]).pw_dir), user)
        except KeyError:
            pass  # a uid without a name: the environment may still say where it is at home
    return Caller(Path(environment.get("HOME") or "/"), user)


def cache_root(who: Caller, environment: Mapping[str, str]) -> Path:
    """$XDG_CACHE_HOME/patchbay, else ~/.cache/patchbay (XDG Base Directory Specification)."""
    named = environment.get("XDG_CACHE_HOME", "")
    base = Path(named) if named.startswith("/") else who.home / ".cache"
    return base / "patchbay"


@contextmanager
def acting_as(who: Caller) -> Iterator[None]:
    """Makes files with the caller's rights and for them, in every thread of this process."""
    if who.user is None:
        yield
        return
    uid, gid = who.user
    groups, own_gid, own_uid = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(_groups(uid, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own_uid)
        os.setegid(own_gid)
        os.setgroups(groups)


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]
