"""A server that takes pushes, in this process, on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from starlette.applications import Starlette

from patchbay_runner.server.pushed.api import PushApi
from patchbay_runner.server.pushed.readers import CountReaders, Readers
from patchbay_runner.server.pushed.retention import Retention
from patchbay_runner.server.pushed.store import RunStore
from patchbay_runner.server.pushed.unpack import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEY = "the-right-key"
_DEADLINE_S = 60.0


class _Application(Starlette):
    """Nothing but pushes."""

    def closing(self) -> None:
        """Nothing here goes on."""


@dataclass(slots=True)
class PushServer:
    url: str
    root: Path
    store: RunStore
    readers: Readers

    def push(self, body: bytes, *, project: str = "web", key: str = KEY, **headers: str) -> httpx.Response:
        url = f"{self.url}/api/push/{project}"
        return httpx.post(url, content=body, headers={"Authorization": f"Bearer {key}", **headers}, timeout=30)

    @property
    def runs(self) -> list[str]:
        """What others see."""
        return sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))

    @property
    def incoming(self) -> list[Path]:
        return list((self.root / ".incoming").iterdir())


@contextmanager
def served(app: ASGIApp, **settings: Any) -> Iterator[str]:
    """The address of `app` until the block ends. `settings` are uvicorn's."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none", **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def push_server(
    root: Path, *, limits: Limits | None = None, retention_bytes: int | None = None
) -> Iterator[PushServer]:
    store, readers = RunStore(root), Readers()
    retention = Retention(store, retention_bytes, readers) if retention_bytes else None
    api = PushApi(store, KEY, limits or Limits(), retention)
    try:
        with served(CountReaders(_Application(routes=api.routes()), readers)) as url:
            yield PushServer(url, root, store, readers)
    finally:
        store.close()


def wait_until(is_so: object) -> None:
    """Until a condition holds that somebody else brings about."""
    assert callable(is_so)
    deadline = time.monotonic() + _DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
