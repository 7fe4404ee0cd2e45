"""Being told when something below the served directory changes: by inotify, and by asking where it is used up."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress

from inotify_simple import INotify, flags

# A file's name, or "" for the directory itself or when anything may have changed.
Callback = Callable[[str], None]

_MASK = (
    flags.CREATE
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.MOVED_TO
    | flags.MOVED_FROM
    | flags.DELETE
    | flags.DELETE_SELF
    | flags.MOVE_SELF
)
_USED_UP = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSYS)
_POLL_S = 1.0


class Watch:
    """Ends with `close`. `number` is inotify's; -1 where there is none left."""

    __slots__ = ("_watcher", "callback", "number")

    def __init__(self, watcher: Watcher, callback: Callback, number: int) -> None:
        self._watcher = watcher
        self.callback = callback
        self.number = number

    def close(self) -> None:
        """No more calls."""
        self._watcher.end(self)


class Watcher:
    """Belongs to the running loop, which makes the calls; any thread may watch.

    A call says that something may have changed: look.
    """

    def __init__(self, *, may_use_inotify: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._watches: dict[int, set[Watch]] = {}
        self._polled: set[Watch] = set()
        self._lock = threading.RLock()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: INotify | None = None
        if may_use_inotify:
            with suppress(OSError):  # as many instances as the user may have; then we ask
                self._inotify = INotify(nonblocking=True)
                self._loop.add_reader(self._inotify.fileno(), self._read)

    @property
    def is_polling(self) -> bool:
        """Whether anything has to be asked for."""
        return bool(self._polled)

    def watch(self, descriptor: int, callback: Callback) -> Watch:
        """Watches the open file or directory, whatever it will be called; the descriptor may be closed then."""
        with self._lock:  # an event must not be read before it is known whose it is
            number = self._add(descriptor)
            watch = Watch(self, callback, number)
            if number < 0:
                self._polled.add(watch)
            else:
                self._watches.setdefault(number, set()).add(watch)
        if number < 0:
            self._loop.call_soon_threadsafe(self._start_polling)
        return watch

    def end(self, watch: Watch) -> None:
        """See Watch.close."""
        with self._lock:
            self._polled.discard(watch)
            same = self._watches.get(watch.number)
            if same is None or watch not in same:
                return
            same.discard(watch)
            if not same:
                del self._watches[watch.number]
                if self._inotify:
                    with suppress(OSError):  # EINVAL: the kernel ended it, for what was watched is gone
                        self._inotify.rm_watch(watch.number)

    def close(self) -> None:
        """Ends all watches."""
        if self._timer:
            self._timer.cancel()
        if self._inotify:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        self._watches.clear()
        self._polled.clear()

    def _add(self, descriptor: int) -> int:
        if self._inotify is None:
            return -1
        try:
            return int(self._inotify.add_watch(f"/proc/self/fd/{descriptor}", _MASK))
        except OSError as error:
            if error.errno in _USED_UP:
                return -1
            raise

    def _read(self) -> None:
        assert self._inotify is not None
        # Many events of one file are one reason to look.
        found = dict.fromkeys(
            (event.wd, event.name, bool(event.mask & flags.IGNORED)) for event in self._inotify.read(0)
        )
        for number, name, is_ended in found:
            with self._lock:
                watches = self._told(number, is_ended=is_ended)
            for watch in watches:
                watch.callback("" if number < 0 or is_ended else name)

    def _told(self, number: int, *, is_ended: bool) -> tuple[Watch, ...]:
        if number < 0:  # the kernel's queue was full
            return tuple(watch for same in self._watches.values() for watch in same)
        return tuple((self._watches.pop if is_ended else self._watches.get)(number, set()))

    def _start_polling(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_POLL_S, self._poll)

    def _poll(self) -> None:
        self._timer = None
        with self._lock:
            watches = tuple(self._polled)
        for watch in watches:
            watch.callback("")
        if watches:
            self._start_polling()
