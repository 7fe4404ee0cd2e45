"""A terminal with a shell in it, as a person has one: tmux draws the screen, tests type and read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0
PROMPT = "ready> "


class Terminal:
    """One screen with an interactive bash."""

    def __init__(self, socket: Path, cwd: Path, environment: Mapping[str, str]) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        # tmux may not be told by another one's variables; the prompt is what `until` waits for.
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE", "PROMPT_COMMAND")}
        env |= {"PS1": PROMPT, "LC_ALL": "C.UTF-8", "HISTFILE": "", "TERM": "screen", **environment}
        size = ["-x", "100", "-y", "30"]
        command = [*self._base, "new-session", "-d", *size, "bash", "--norc", "--noprofile", "-i"]
        subprocess.run(command, env=env, cwd=cwd, check=True, timeout=PATIENCE_S)
        self.until(re.escape(PROMPT.strip()))

    def type(self, line: str) -> None:
        """Types a line and presses Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Presses keys, as tmux calls them: C-c, Enter, q."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Makes the window larger or smaller."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def until(self, pattern: str) -> re.Match[str]:
        """Waits until the screen shows what the regular expression finds."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            screen = self.screen()
            if found := re.search(pattern, screen, re.MULTILINE):
                return found
            assert time.monotonic() < deadline, f"{pattern!r} did not appear on:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        """Closes the window, as a person does."""
        subprocess.run([*self._base, "kill-server"], capture_output=True, timeout=PATIENCE_S, check=False)

    def _tmux(self, *arguments: str) -> str:
        command = [*self._base, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


@contextmanager
def open_terminal(cwd: Path, **environment: str) -> Iterator[Terminal]:
    """A terminal whose shell starts in `cwd`."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path is short
    try:
        terminal = Terminal(place / "tmux", cwd, environment)
        try:
            yield terminal
        finally:
            terminal.close()
    finally:
        shutil.rmtree(place)
