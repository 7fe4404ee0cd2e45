import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from patchbay_runner import __version__
from patchbay_runner.cli import main
from patchbay_runner.cli.parameters import duration_s
from patchbay_runner.cli.session import Session
from patchbay_runner.errors import (
    AssertionFailed,
    Diagnostic,
    HostError,
    InputError,
    LabError,
    PatchbayError,
    SandboxDied,
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Session], object]], None]:
    """Makes `patchbay fake` do what it is given."""

    def install(action: Callable[[Session], object]) -> None:
        module = types.ModuleType("fake_command")
        module.fake = click.command()(click.pass_obj(action))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(main.COMMANDS, "fake", "fake_command")

    return install


def raising(error: BaseException) -> Callable[[Session], None]:
    def action(_session: Session) -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (
            InputError([Diagnostic("a.toml", 3, "sim.name", "is empty"), Diagnostic("b.toml", 0, "", "is no TOML")]),
            2,
            "a.toml:3: sim.name: is empty\nb.toml: is no TOML\nnothing was run\n",
        ),
        (HostError("no namespaces", "sysctl this"), 4, "error: no namespaces\n  try: sysctl this\n"),
        (HostError("no space"), 4, "error: no space\n"),
        (LabError("refused", "home"), 1, "error: home: refused\n"),
        (AssertionFailed("1 is not 2"), 1, "error: 1 is not 2\n"),
        (SandboxDied("it died"), 3, "error: it died\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_an_error_is_shown_and_becomes_its_exit_code(
    command: Callable[[Callable[[Session], object]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    shown: str,
) -> None:
    command(raising(error))
    assert main.run_command(["fake"]) == code
    assert capsys.readouterr() == ("", shown)


def test_every_error_of_the_tree_has_a_documented_code() -> None:
    def below(kind: type[PatchbayError]) -> set[type[PatchbayError]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    assert {kind.exit_code for kind in below(PatchbayError)} == {1, 2, 3, 4}


def test_a_commands_return_value_is_the_exit_code(command: Callable[[Callable[[Session], object]], None]) -> None:
    command(lambda _session: 5)
    assert main.run_command(["fake"]) == 5
    command(lambda _session: None)
    assert main.run_command(["fake"]) == 0


def test_a_defect_is_one_line_and_its_traceback_a_file(
    command: Callable[[Callable[[Session], object]], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command(raising(ZeroDivisionError("oops")))
    assert main.run_command(["fake"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    (saved,) = tmp_path.iterdir()
    assert line == f"patchbay failed by a defect of its own: ZeroDivisionError: oops; see {saved}"
    assert saved.read_text().startswith("Traceback (most recent call last):\n")


def test_a_defects_traceback_stands_beside_the_results(
    command: Callable[[Callable[[Session], object]], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Keeper:
        def save_traceback(self, text: str) -> Path:
            (tmp_path / "traceback.txt").write_text(text)
            return tmp_path / "traceback.txt"

    def fail(session: Session) -> None:
        session.run_directory = Keeper()
        raise ZeroDivisionError

    command(fail)
    assert main.run_command(["fake"]) == 3
    assert f"see {tmp_path}/traceback.txt" in capsys.readouterr().err
    assert "ZeroDivisionError" in (tmp_path / "traceback.txt").read_text()


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["run", "x", "--timeout", "soon"]])
def test_a_wrong_command_line_is_2_and_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["run", "-h"]])
def test_help_is_there(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(arguments) == 0
    assert "Usage: patchbay" in capsys.readouterr().out


def test_the_version_comes_without_anything_heavy() -> None:
    heavy = {"rich", "asyncio", "pyroute2", "cryptography", "jinja2", "jsonpath_ng", "tomllib"}
    code = (
        "import sys\nfrom patchbay_runner.cli import main\n"
        f"assert main.run_command(['--version']) == 0\nassert not {heavy} & set(sys.modules), sys.modules.keys()\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == f"patchbay {__version__}\n"


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800.0), ("500ms", 0.5), (None, None)])
def test_durations_of_options(text: str | None, seconds: float | None) -> None:
    context = click.Context(click.Command("x"))
    assert duration_s(context, click.Option(["--timeout"]), text) == seconds


@pytest.mark.parametrize("text", ["0s", "soon", "-1s", "5"])
def test_durations_that_make_no_sense(text: str) -> None:
    with pytest.raises(click.BadParameter):
        duration_s(click.Context(click.Command("x")), click.Option(["--timeout"]), text)
