"""What asyncio code waits for: coroutines that run in nodes, and programs there."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Generator
from concurrent.futures import Future
from typing import IO, Any, Generic, Self, TypeVar

from patchbay_runner.library.processes import Popen

_T = TypeVar("_T")


class Task(Generic[_T]):
    """A coroutine that runs in a node: await it, or wait for its `result` without a loop.

    Examples:
        >>> import asyncio, socket
        >>> async def name_after(delay_s):
        ...     await asyncio.sleep(delay_s)
        ...     return socket.gethostname()
        >>> async def main():
        ...     return await asyncio.gather(laptop.spawn(name_after, 0.01), server.spawn(name_after, 0.01))
        >>> asyncio.run(main())
        ['laptop', 'server']
    """

    def __init__(self, future: Future[_T]) -> None:
        self._future = future

    def result(self, timeout: float | None = None) -> _T:
        """What it returns or raises; `timeout` in seconds. Raises TimeoutError.

        Examples:
            >>> import asyncio
            >>> laptop.spawn(asyncio.sleep, 0.01, "awake").result(timeout=10)
            'awake'
        """
        return self._future.result(timeout)

    def done(self) -> bool:
        """Whether it has returned or raised.

        Examples:
            >>> import asyncio
            >>> laptop.spawn(asyncio.sleep, 1000).done()
            False
        """
        return self._future.done()

    def __await__(self) -> Generator[Any, None, _T]:
        return asyncio.wrap_future(self._future).__await__()


class AsyncProcess:
    """A program that runs in a node, as `asyncio.subprocess.Process`: streams are those asked for with PIPE.

    Examples:
        >>> import asyncio
        >>> async def main():
        ...     sleeping = await laptop.create_subprocess_exec("sleep", "1000")
        ...     sleeping.terminate()
        ...     return await sleeping.wait()
        >>> asyncio.run(main())
        -15
    """

    def __init__(
        self, process: Popen, stdin: StreamWriter | None, stdout: StreamReader | None, stderr: StreamReader | None
    ) -> None:
        self.pid = process.pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._process = process

    @classmethod
    async def of(cls, process: Popen) -> Self:
        """A program that `Node.popen` has started, with its pipes on the running loop.

        Examples:
            >>> import asyncio
            >>> from patchbay_runner import PIPE, AsyncProcess
            >>> async def main():
            ...     process = await AsyncProcess.of(laptop.popen(["hostname"], stdout=PIPE))
            ...     return (await process.communicate())[0].strip()
            >>> asyncio.run(main())
            b'laptop'
        """
        stdin = None if process.stdin is None else await _writer(process.stdin)
        stdout, stderr = [None if each is None else await _reader(each) for each in (process.stdout, process.stderr)]
        return cls(process, stdin, stdout, stderr)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs.

        Examples:
            >>> import asyncio
            >>> async def main():
            ...     sleeping = await laptop.create_subprocess_exec("sleep", "1000")
            ...     return sleeping.returncode
            >>> asyncio.run(main()) is None
            True
        """
        return self._process.poll()

    async def wait(self) -> int:
        """The exit code, once it has ended.

        Examples:
            >>> import asyncio
            >>> async def main():
            ...     return await (await laptop.create_subprocess_exec("false")).wait()
            >>> asyncio.run(main())
            1
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        fd = self._process.fileno()
        loop.add_reader(fd, _set_once, ended)
        try:
            await ended
        finally:
            loop.remove_reader(fd)
        return self._process.wait()

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Writes `input`, reads all output, waits; gives standard output and error, None for what is no pipe.

        Examples:
            >>> import asyncio
            >>> from patchbay_runner import PIPE
            >>> async def main():
            ...     cat = await laptop.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
            ...     return await cat.communicate(b"to and fro")
            >>> asyncio.run(main())
            (b'to and fro', None)
        """
        stdout, stderr, _ = await asyncio.gather(_all(self.stdout), _all(self.stderr), self._feed(input))
        await self.wait()
        return stdout, stderr

    async def _feed(self, content: bytes | None) -> None:
        if self.stdin is None:
            return
        try:
            if content:
                self.stdin.write(content)
                await self.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended without reading, as it may
        self.stdin.close()

    def send_signal(self, number: int) -> None:
        """Signals its whole process group, unless it has ended.

        Examples:
            >>> import asyncio, signal
            >>> async def main():
            ...     sleeping = await laptop.create_subprocess_exec("sleep", "1000")
            ...     sleeping.send_signal(signal.SIGINT)
            ...     return await sleeping.wait()
            >>> asyncio.run(main())
            -2
        """
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Sends SIGTERM to its process group.

        Examples:
            >>> import asyncio
            >>> async def main():
            ...     sleeping = await laptop.create_subprocess_exec("sleep", "1000")
            ...     sleeping.terminate()
            ...     return await sleeping.wait()
            >>> asyncio.run(main())
            -15
        """
        self._process.terminate()

    def kill(self) -> None:
        """Sends SIGKILL to its process group.

        Examples:
            >>> import asyncio
            >>> async def main():
            ...     sleeping = await laptop.create_subprocess_exec("sleep", "1000")
            ...     sleeping.kill()
            ...     return await sleeping.wait()
            >>> asyncio.run(main())
            -9
        """
        self._process.kill()


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _all(stream: StreamReader | None) -> bytes | None:
    return None if stream is None else await stream.read()


async def _reader(pipe: IO[Any]) -> StreamReader:
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _writer(pipe: IO[Any]) -> StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    return StreamWriter(transport, protocol, None, loop)
