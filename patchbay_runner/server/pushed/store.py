"""Where pushed runs are kept: each comes to be whole, by a rename, and carries a mark that says whose it is.

::

    RUN_DIR/
      .lock                            held by the one server that stores here
      .incoming/<id>/                  uploads, and runs on their way out; whatever is there at the start is left over
      <project>-<date>_<time>-<id>/    a run, with .patchbay-push.json in it
      anything else                    not ours: served, never changed
"""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.results import lock
from patchbay_runner.results.files import make_directories, write_atomically
from patchbay_runner.results.origin import RUN_INFO_NAME, RunOrigin, read_origin

MARK_NAME = ".patchbay-push.json"
_INCOMING = ".incoming"
_PATIENCE_S = 5.0
# run.json and the mark, a block each.
_OWN_FILES_BYTES = 2 * 4096


class Mark(msgspec.Struct, frozen=True):
    """What makes a directory a run that this server stored. A copy under another name is not one."""

    name: str
    project: str
    push_id: str
    received_at: datetime
    disk_bytes: int
    files: int
    schema: int = 1


class Upload(msgspec.Struct, frozen=True):
    """A directory that a push is unpacked to. `push_id` is the same when a client tries again."""

    directory: Path
    project: str
    push_id: str


class RunStore:
    """The pushed runs below a directory. All methods block; several threads may call them."""

    def __init__(self, root: Path) -> None:
        """Takes the place for this process. Raises HostError when another server has it, or it cannot be written."""
        self.root = root
        self._incoming = root / _INCOMING
        self._change = threading.Lock()
        self._marks: dict[str, Mark] = {}
        make_directories(self._incoming)
        try:
            self._lock = lock.hold(root)
        except BlockingIOError as error:
            raise HostError(
                f"another patchbay-serve keeps its runs in {root}", "stop it, or name another one"
            ) from error
        # Removing a hundred thousand files takes a minute on a slow disk, which nobody has to wait for.
        self._remover = ThreadPoolExecutor(1, "remover")
        self._last_removal: Future[None] | None = None
        for left_over in self._incoming.iterdir():
            self._throw_away(left_over)
        self.runs()

    def close(self) -> None:
        """Lets another server have the place. What takes long to remove is left for the next start."""
        if self._last_removal:
            wait([self._last_removal], _PATIENCE_S)
        self._remover.shutdown(wait=False, cancel_futures=True)
        os.close(self._lock)

    def begin(self, project: str, push_id: UUID | None) -> Upload:
        """A new, hidden directory."""
        directory = self._incoming / str(uuid4())
        directory.mkdir(mode=0o700)
        return Upload(directory, project, str(push_id or uuid4()))

    def discard(self, upload: Upload) -> None:
        """Removes what has come of it, soon."""
        self._throw_away(upload.directory)

    def publish(self, upload: Upload, files: int, disk_bytes: int) -> Mark:
        """Makes a whole upload a run, on disk before it is seen. The run that is there when a client tried twice."""
        now = datetime.now(UTC)
        mark = Mark(
            name=f"{upload.project}-{now:%Y%m%d_%H%M%S}-{upload.push_id}",
            project=upload.project,
            push_id=upload.push_id,
            received_at=now,
            disk_bytes=disk_bytes + _OWN_FILES_BYTES,
            files=files,
        )
        _write_origin(upload, now)
        write_atomically(upload.directory / MARK_NAME, msgspec.json.encode(mark))
        upload.directory.chmod(0o755)
        _flush(upload.directory)
        with self._change:
            earlier = self._find(upload)
            if earlier is None:
                upload.directory.rename(self.root / mark.name)
                self._marks[mark.name] = mark
                return mark
        self.discard(upload)
        return earlier

    def runs(self) -> list[Mark]:
        """All runs that a server stored here, the oldest first."""
        with self._change:
            self._marks = {mark.name: mark for entry in os.scandir(self.root) if (mark := self._mark_of(entry))}
            return sorted(self._marks.values(), key=lambda mark: (mark.received_at, mark.name))

    def remove(self, mark: Mark) -> None:
        """Deletes a run: it is gone at once, its files a little later."""
        doomed = self._incoming / str(uuid4())
        with self._change:
            if _read_mark(self.root / mark.name) != mark:
                return
            (self.root / mark.name).rename(doomed)
            self._marks.pop(mark.name, None)
        self._throw_away(doomed)

    def find(self, project: str, push_id: UUID) -> Mark | None:
        """The run that an earlier attempt of a push has made."""
        with self._change:
            return self._find(Upload(self._incoming, project, str(push_id)))

    def _throw_away(self, path: Path) -> None:
        self._last_removal = self._remover.submit(_remove, path)

    def _find(self, upload: Upload) -> Mark | None:
        wanted = (upload.project, upload.push_id)
        found = (mark for mark in self._marks.values() if (mark.project, mark.push_id) == wanted)
        return next((mark for mark in found if _read_mark(self.root / mark.name) == mark), None)

    def _mark_of(self, entry: os.DirEntry[str]) -> Mark | None:
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            return None
        return self._marks.get(entry.name) or _read_mark(Path(entry.path))


def _read_mark(run: Path) -> Mark | None:
    try:
        content = os.open(run / MARK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # nobody's, or gone meanwhile
        return None
    with os.fdopen(content, "rb") as file:
        try:
            mark = msgspec.json.decode(file.read(), type=Mark)
        except msgspec.DecodeError:
            return None
    return mark if mark.name == run.name else None


def _write_origin(upload: Upload, now: datetime) -> None:
    """run.json as it came, with the project that it was pushed to."""
    origin = read_origin(upload.directory) or RunOrigin()
    created_at = origin.created_at or f"{now:%Y-%m-%dT%H:%M:%SZ}"
    origin = msgspec.structs.replace(origin, project=upload.project, created_at=created_at)
    write_atomically(upload.directory / RUN_INFO_NAME, msgspec.json.format(msgspec.json.encode(origin), indent=2))


def _flush(directory: Path) -> None:
    """Everything on its file system to disk (syncfs(2)): one call, where a run may have a hundred thousand files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """What cannot be removed now is tried again at the next start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
