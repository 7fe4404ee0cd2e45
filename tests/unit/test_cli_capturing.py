"""What `--capture` and `--capture-size` make of the plans, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.cli.capturing import with_capture
from patchbay_runner.cli.main import run_command
from patchbay_runner.model.capture import PacketCapture
from tests.unit.results_support import plan

HEADERS = PacketCapture(snap_length=60)


@pytest.mark.parametrize(
    ("is_capturing", "max_bytes", "expected"),
    [
        (None, None, [None, HEADERS]),
        (True, None, [PacketCapture(), HEADERS]),
        (False, None, [None, None]),
        (None, 1_000_000, [PacketCapture(1_000_000), PacketCapture(1_000_000, 60)]),
        (True, 1_000_000, [PacketCapture(1_000_000), PacketCapture(1_000_000, 60)]),
    ],
)
def test_the_command_line_has_the_last_word(
    is_capturing: bool | None, max_bytes: int | None, expected: list[PacketCapture | None]
) -> None:
    plans = [plan("quiet"), plan("asks", capture=HEADERS)]
    assert [each.capture for each in with_capture(plans, is_capturing, max_bytes)] == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--capture-size", "64 miles"], "'64 miles' is not a size; expected a size such as"),
        (["--capture-size", "much"], "'much' is not a size"),
        (["--capture-size", "1kB"], "'1kB' is not from 250 KB to 1 TB"),
        (["--no-capture", "--capture-size", "1MB"], "--no-capture leaves nothing for --capture-size to limit"),
    ],
)
def test_nonsense_is_refused_before_anything_runs(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text('[[router]]\nname = "dc"\n[[step]]\naction = "wait"\nduration = "1s"\n')
    assert run_command(["run", *arguments, "a.toml"]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / ".patchbay-work").exists()
