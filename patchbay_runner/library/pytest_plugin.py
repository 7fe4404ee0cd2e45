"""The pytest plugin: labs as fixtures, sims as tests. pytest finds it by itself once patchbay is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner.errors import HostError, InputError, PatchbayError
from patchbay_runner.library.entered import enter
from patchbay_runner.library.lab import Lab
from patchbay_runner.loader import load
from patchbay_runner.model.links import PRESETS
from patchbay_runner.model.nat import NAT_MODES
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.lab_record import discard

_REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()
_RECORDS = pytest.StashKey[list[Path]]()
_UNFIT = pytest.StashKey[str]()

# Fixtures that stand for a value each, and the values that a test gets which names none.
_VALUES = {"nat_mode": tuple(NAT_MODES), "link_preset": tuple(PRESETS)}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("patchbay", "networks of namespaces")
    group.addoption("--patchbay-outdir", metavar="DIR", help="keep the record of every lab and sim below DIR")
    group.addoption("--patchbay-enter", action="store_true", help="run functions in nodes in pytest's own process")
    group.addoption("--patchbay-capture", action="store_true", help="keep the packets of every lab and sim too")
    parser.addini("patchbay_sims", "whether TOML files that are sims are tests", type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_labs: skip the test, with the reason, where labs cannot run")
    for name in _VALUES:
        config.addinivalue_line("markers", f"{name}s(*values): the values of the fixture {name!r}; all of them else")
    if config.getoption("--patchbay-enter"):
        _enter()
    _end_tracebacks_in_the_test()


def _end_tracebacks_in_the_test() -> None:
    """What the network refuses is shown with the lines of the test, and not with ours; `--full-trace` has both."""
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{__package__}."):
            vars(module)["__tracebackhide__"] = _is_no_defect


def _is_no_defect(raised: pytest.ExceptionInfo[BaseException]) -> bool:
    return raised.errisinstance((OSError, PatchbayError, subprocess.CalledProcessError))


def _enter() -> None:
    """Before anything starts a thread. Workers of pytest-xdist are in what pytest has entered."""
    try:
        enter()
    except HostError as error:
        raise pytest.UsageError(f"--patchbay-enter: {error}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, values in _VALUES.items():
        if name in metafunc.fixturenames:
            marker = metafunc.definition.get_closest_marker(f"{name}s")
            asked = marker.args if marker is not None and marker.args else values
            metafunc.parametrize(name, asked, indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_labs") is not None:
        reason = _why_not(item.config)
        if reason:
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash.setdefault(_REPORTS, {})[report.when or ""] = report
    if report.when == "call" and report.failed:
        for record in item.stash.get(_RECORDS, []):
            shown = f"{record}\nto look at it: patchbay serve --testdir, or patchbay serve {record.parent}"
            report.sections.append(("patchbay record", shown))
    return report


@pytest.fixture
def lab(request: pytest.FixtureRequest, _patchbay_records: Path) -> Iterator[Lab]:
    """A fresh lab, gone with the test. Its record is kept when the test fails, or where one asks for records.

    They go below --patchbay-outdir, else $PATCHBAY_OUTDIR, else pytest's own directory for temporary files.

    Examples:
        >>> def test_the_server_answers(lab):
        ...     dc = lab.add_router("dc")
        ...     server, client = lab.add_device("server", dc), lab.add_device("client", dc)
        ...     with server.tcp_reflector(9000):
        ...         client.create_connection((server, 9000), timeout=5).close()
    """
    made = Lab(
        label=request.node.name,
        outdir_base=_patchbay_records,
        capture=request.config.getoption("--patchbay-capture"),
    )
    assert made.outdir is not None
    request.node.stash.setdefault(_RECORDS, []).append(made.outdir)
    yield made
    reports = request.node.stash.get(_REPORTS, {})
    has_failed = any(report.failed for report in reports.values())
    made.close("failed" if has_failed else "success")
    if not has_failed and _asked_for(request.config) is None:
        discard(made.outdir)


@pytest.fixture
def nat_mode(request: pytest.FixtureRequest) -> str:
    """A mode of NAT: the test runs once for each, or for each that the marker `nat_modes` names.

    Examples:
        >>> @pytest.mark.nat_modes("home", "cgnat")
        ... def test_behind_a_nat(lab, nat_mode):
        ...     assert lab.add_router("edge", nat=nat_mode).ip
    """
    return str(request.param)


@pytest.fixture
def link_preset(request: pytest.FixtureRequest) -> str:
    """A preset of link conditions: the test runs once for each, or for each that the marker `link_presets` names.

    Examples:
        >>> @pytest.mark.link_presets("wifi", "mobile-4g")
        ... def test_on_a_link(lab, link_preset):
        ...     assert lab.add_device("phone", lab.add_router("home"), impair=link_preset).ip
    """
    return str(request.param)


@pytest.fixture(scope="session")
def _patchbay_records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the records of this session's labs go, all of its processes', which `patchbay serve --testdir` asks for."""
    own = tmp_path_factory.getbasetemp()
    is_xdist = hasattr(request.config, "workerinput")
    base = _asked_for(request.config) or (own.parent if is_xdist else own) / "patchbay"
    cache: pytest.Cache | None = getattr(request.config, "cache", None)  # there is none with -p no:cacheprovider
    if cache is not None:
        with warnings.catch_warnings(action="ignore", category=pytest.PytestCacheWarning):  # it cannot be written
            cache.set("patchbay/records", str(base))
    return base


def _asked_for(config: pytest.Config) -> Path | None:
    """Where somebody asked for records: the command line, else the environment."""
    asked = config.getoption("--patchbay-outdir") or os.environ.get("PATCHBAY_OUTDIR")
    return Path(asked).absolute() if asked else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SimFile | None:
    if file_path.suffix != ".toml" or not parent.config.getini("patchbay_sims"):
        return None
    named = {Path(argument.partition("::")[0]).absolute() for argument in parent.config.args}
    return SimFile.from_parent(parent, path=file_path) if file_path in named or _is_sim(file_path) else None


class SimFile(pytest.File):
    """A file of a sim: a test for each of its variants."""

    def collect(self) -> Iterable[pytest.Item]:
        try:
            plans = load([self.path], cwd=self.config.rootpath).plans
        except InputError as error:
            raise self.CollectError(str(error)) from error
        return [SimItem.from_parent(self, name=plan.name, plan=plan) for plan in plans]


class SimItem(pytest.Item):
    """One variant of a sim, run as the command line runs it, from pytest's root directory."""

    def __init__(self, *, plan: Plan, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._plan = plan

    def runtest(self) -> None:
        """Raises SimFailed with what patchbay shows."""
        matrix = [f"--matrix={axis}={value}" for axis, value in self._plan.matrix.items()]
        asked = _asked_for(self.config)
        kept = ["--work-dir", str(asked)] if asked else []
        kept += ["--capture"] if self.config.getoption("--patchbay-capture") else []
        argv = [sys.executable, "-m", "patchbay_runner", "run", str(self.path), *matrix, *kept, "--jobs=1"]
        done = subprocess.run(
            argv, cwd=self.config.rootpath, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode != 0:
            raise SimFailed(done.returncode, done.stdout + done.stderr)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, SimFailed):
            return excinfo.value.shown
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self._plan.name


class SimFailed(Exception):
    """A sim did not pass. `status` is the command's exit code, `shown` what it said."""

    def __init__(self, status: int, shown: str) -> None:
        self.status = status
        self.shown = shown
        super().__init__(f"patchbay ended with {status}")


def _is_sim(path: Path) -> bool:
    """Whether a file that nobody named is a sim: others have TOML files of their own lying about."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
        return False
    return "step" in document and bool(document.keys() & {"sim", "router", "device", "extends"})


def _why_not(config: pytest.Config) -> str:
    """Why labs cannot run here, "" when they can; found out once."""
    if _UNFIT not in config.stash:
        try:
            Lab().close()
        except HostError as error:
            config.stash[_UNFIT] = f"labs cannot run here: {error} (patchbay doctor says more)"
        else:
            config.stash[_UNFIT] = ""
    return config.stash[_UNFIT]
