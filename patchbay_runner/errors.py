"""Every error patchbay raises on purpose, and the exit code each ends in.

::

    PatchbayError
    ├── InputError           2  the command line or a sim file is wrong; carries Diagnostics; nothing ran
    │   └── BinariesMissing  2  programs of sims could not be had; carries a BinaryError for each
    ├── BinaryError          2  one program could not be found, fetched or built; says what was expected
    ├── HostError            4  this machine cannot run labs; says what is missing and what would fix it
    │   └── SandboxRefused   4  no sandbox can be made on it
    ├── PushError            1  a run could not be pushed to a server; says what the server, or the way to it, said
    ├── LabError             1  the network could not be made or changed as asked
    │   └── KernelError      1  one kernel operation was refused; carries the operation and errno
    ├── StepError            1  a step failed; carries what the report shows
    │   ├── CommandNotFound  1  the program of a step is not there
    │   ├── StepTimeout      1  a step or the sim ran out of time
    │   ├── CaptureMissing   1  a capture can no longer appear
    │   └── AssertionFailed  1  an assertion does not hold
    ├── EmulatorDied         3  a process that emulates links ended while the network ran
    ├── TranslatorDied       3  a NAT64 router's translator ended while the network ran
    ├── CapturerDied         3  the process that captures packets ended while the network ran
    └── SandboxDied          3  a sandbox ended without saying why

Only the command line prints these and turns them into exit codes.
"""

from __future__ import annotations

import errno as errno_names
import os
from collections.abc import Sequence
from typing import ClassVar

import msgspec


class Diagnostic(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong in an input file.

    `line` counts from 1; 0 means the whole file. `key` is the dotted path in the document, "" for the file.
    """

    file: str
    line: int
    key: str
    message: str
    expected: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        return f"{place}:{key} {self.message}{expected}"


class PatchbayError(Exception):
    """The root of the tree."""

    exit_code: ClassVar[int] = 3


class InputError(PatchbayError):
    """The command line or a sim file is wrong. Nothing has run."""

    exit_code = 2

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


class BinaryError(PatchbayError):
    """One program could not be found, fetched or built. `output` holds the last lines of the tool that failed."""

    exit_code = 2

    def __init__(self, message: str, expected: str = "", output: Sequence[str] = ()) -> None:
        self.message = message
        self.expected = expected
        self.output = tuple(output)
        super().__init__(f"{message}; expected {expected}" if expected else message)


class BinariesMissing(InputError):
    """Programs of sims could not be had: for each, the place that asks for it, and why not."""

    def __init__(self, failures: Sequence[tuple[Diagnostic, BinaryError]]) -> None:
        self.failures = tuple(failures)
        super().__init__([diagnostic for diagnostic, _ in failures])

    def __str__(self) -> str:
        return "\n".join(
            "\n".join([str(diagnostic), *(f"  │ {line}" for line in error.output)])
            for diagnostic, error in self.failures
        )


class HostError(PatchbayError):
    """This machine cannot run labs. `remedy` is a command or a sentence that fixes it."""

    exit_code = 4

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}" if remedy else problem)


class SandboxRefused(HostError):
    """The host lets nobody make a sandbox, or has no room for one more. A virtual machine may help."""


class PushError(PatchbayError):
    """A run could not be pushed. `status` is the server's HTTP status; 0 when there was no answer."""

    exit_code = 1

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class LabError(PatchbayError):
    """The network could not be made or changed as asked. `node` is a router, a device, "ix" or ""."""

    exit_code = 1

    def __init__(self, message: str, node: str = "") -> None:
        self.node = node
        super().__init__(f"{node}: {message}" if node else message)


class KernelError(LabError):
    """One kernel operation was refused."""

    def __init__(self, operation: str, errno: int, node: str = "", detail: str = "") -> None:
        self.operation = operation
        self.errno = errno
        name = errno_names.errorcode.get(errno, str(errno))
        reason = f"{os.strerror(errno)} ({name})" + (f": {detail}" if detail else "")
        super().__init__(f"{operation}: {reason}", node)


class StepError(PatchbayError):
    """A step failed. `output` holds the last lines of the output involved.

    `may_be_lateness` says whether frames that were late, on a host too busy for its links, could be the reason.
    """

    exit_code = 1
    may_be_lateness = False

    def __init__(self, message: str, output: Sequence[str] = (), *, may_be_lateness: bool | None = None) -> None:
        self.output = tuple(output)
        if may_be_lateness is not None:
            self.may_be_lateness = may_be_lateness
        super().__init__(message)


class CommandNotFound(StepError):
    """The program of a step is not there or cannot be executed."""


class StepTimeout(StepError):
    """A step, or the sim as a whole, ran out of time."""

    may_be_lateness = True


class CaptureMissing(StepError):
    """A capture that a step needs can no longer appear."""


class AssertionFailed(StepError):
    """An assertion does not hold."""

    may_be_lateness = True


class EmulatorDied(PatchbayError):
    """A process that emulates links ended while the network ran: a defect of ours, or something outside killed it."""

    exit_code = 3


class TranslatorDied(PatchbayError):
    """The process that translates for a NAT64 router ended while the network ran: a defect, or something killed it."""

    exit_code = 3


class CapturerDied(PatchbayError):
    """The process that captures packets ended while the network ran: a defect, or something killed it."""

    exit_code = 3


class SandboxDied(PatchbayError):
    """A sandbox ended without saying why: a defect of ours, or something outside killed it."""

    exit_code = 3
