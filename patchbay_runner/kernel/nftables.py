"""nftables rulesets in any network namespace: libnftables in this process, or the `nft` program where it is absent.

In process a ruleset loads in a fraction of a millisecond; the program costs a fork and the library's start each time.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from patchbay_runner.errors import HostError, LabError
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.remedies import install_nftables

_LIBRARY: Final = "libnftables.so.1"
_OUTPUT_JSON: Final = 1 << 4  # NFT_CTX_OUTPUT_JSON
_RULESET: Final = "ruleset"  # what errors call the text: ruleset:3:5-8
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def load(netns_fd: int, ruleset: str, node: str = "") -> None:
    """Load a ruleset in one transaction: all of it or, on a LabError that quotes the line at fault, nothing."""
    run(netns_fd, ruleset, node)


def list_ruleset(netns_fd: int, node: str = "") -> str:
    """The namespace's whole ruleset, map and set elements included, as `nft` writes it."""
    return run(netns_fd, "list ruleset", node)


def list_objects(netns_fd: int, what: str = "ruleset", node: str = "") -> list[dict[str, Any]]:
    """The objects that `list <what>` shows ("ruleset", "map ip nat out"), as libnftables-json(5) describes them."""
    objects: list[dict[str, Any]] = json.loads(run(netns_fd, f"list {what}", node, as_json=True))["nftables"]
    return [entry for entry in objects if "metainfo" not in entry]


def run(netns_fd: int, commands: str, node: str = "", *, as_json: bool = False) -> str:
    """Run nft commands as one transaction in a network namespace; return what they print.

    Raises LabError with nft's own words when they are refused, HostError when this machine has no nftables.
    """
    library = _library()
    with entered(netns_fd):
        status, output, problem = (
            _run_in_process(library, commands, as_json) if library else _run_program(commands, as_json)
        )
    if status:
        raise LabError(f"nftables: {problem.strip() or 'refused without a reason'}", node)
    return output


def has_library() -> bool:
    """Whether libnftables serves in this process."""
    return _library() is not None


def find_program() -> str | None:
    """The `nft` program, also where an ordinary user's PATH does not look."""
    return shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    context = ctypes.c_void_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], context
    library.nft_run_cmd_from_filename.argtypes = [context, ctypes.c_char_p]
    library.nft_ctx_output_set_flags.argtypes, library.nft_ctx_output_set_flags.restype = [context, ctypes.c_uint], None
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = [context], None
    for stream in ("output", "error"):
        getattr(library, f"nft_ctx_buffer_{stream}").argtypes = [context]
        getter = getattr(library, f"nft_ctx_get_{stream}_buffer")
        getter.argtypes, getter.restype = [context], ctypes.c_char_p
    return library


def _run_in_process(library: ctypes.CDLL, commands: str, as_json: bool) -> tuple[int, str, str]:
    # A context holds a netlink socket of the namespace it was made in and a cache of its tables, so it serves once.
    context = library.nft_ctx_new(0)
    if not context:
        raise LabError("nftables: no context could be made")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if as_json:
            library.nft_ctx_output_set_flags(context, _OUTPUT_JSON)
        # From a file, because of a buffer the library always quotes the first line, whichever is at fault.
        with _in_memory(commands) as path:
            status = library.nft_run_cmd_from_filename(context, path.encode())
        output = (library.nft_ctx_get_output_buffer(context) or b"").decode(errors="replace")
        problem = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
        return status, output, problem.replace(path, _RULESET)
    finally:
        library.nft_ctx_free(context)


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file with this text, which lives as long as the block."""
    with os.fdopen(os.memfd_create("ruleset"), "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _run_program(commands: str, as_json: bool) -> tuple[int, str, str]:
    program = find_program()
    if program is None:
        raise HostError("neither libnftables nor nft is installed", install_nftables())
    # With --json the program takes its standard input for JSON too.
    arguments = ["--json", commands] if as_json else ["--file", "-"]
    text = None if as_json else commands
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.returncode, done.stdout, done.stderr.replace("/dev/stdin", _RULESET)
