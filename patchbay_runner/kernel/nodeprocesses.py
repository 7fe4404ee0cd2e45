"""The programs that run in a network namespace, as text for people."""

from __future__ import annotations

from pathlib import Path

from patchbay_runner.kernel.namespaces import namespace_id

_FIELDS = ("Name", "State", "PPid", "Threads", "VmRSS")  # of /proc/<pid>/status


def list_processes(netns: int) -> str:
    """A line a program, fields parted by tabs. A program that may not be looked at (not dumpable) is left out."""
    wanted = namespace_id(netns)
    lines = ["\t".join(("Pid", *_FIELDS, "Command"))]
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        entry = Path(f"/proc/{pid}")
        try:
            if (entry / "ns/net").stat().st_ino != wanted:
                continue
            status = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile, is a zombie, or is not ours to see
        lines.append("\t".join((str(pid), *(status.get(name, "").strip() for name in _FIELDS), command.strip())))
    return "\n".join((*lines, ""))
