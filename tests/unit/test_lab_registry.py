"""The list of networks that are up, with sockets in the place of agents."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from patchbay_runner.cli.labs import choose
from patchbay_runner.errors import HostError
from patchbay_runner.lab import registry
from patchbay_runner.lab.registry import LabRecord, connect, directory_of_labs, register, running_labs


def record(name: str = "web", **fields: Any) -> LabRecord:
    usual: dict[str, Any] = {"kind": "inspect", "source": "web.toml", "nodes": ("a", "ix"), "pid": 1, "since": 1.0}
    return LabRecord(name=name, **{**usual, **fields})


def test_a_lab_is_found_until_it_is_closed(tmp_path: Path) -> None:
    directory = tmp_path / "patchbay"
    assert running_labs(directory) == []
    with register(directory, record("my sim/ä", since=2.0)) as one, register(directory, record(since=1.0)) as two:
        assert running_labs(directory) == [two.record, one.record]
        assert one.record.id.startswith("my-sim-")
        one.set_paused(True)
        assert [lab.is_paused for lab in running_labs(directory)] == [False, True]
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / f"{one.record.id}.sock").stat().st_mode) == 0o600
    assert list(directory.iterdir()) == []


def test_a_lab_whose_agent_is_gone_is_cleared_away(tmp_path: Path) -> None:
    with register(tmp_path, record()) as gone, register(tmp_path, record()) as there:
        gone.drop_listener()
        assert connect(tmp_path, gone.record.id) is None
        assert running_labs(tmp_path) == [there.record]
        assert not (tmp_path / f"{gone.record.id}.json").exists()


def test_a_lab_whose_agent_is_busy_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody accepts; the kernel keeps who comes waiting."""
    with register(tmp_path, record()) as busy:
        for _ in range(10):
            assert running_labs(tmp_path) == [busy.record]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_list_that_cannot_be_written_any_more_is_no_defect(tmp_path: Path) -> None:
    with register(tmp_path, record()) as lab:
        tmp_path.chmod(0o500)
        lab.set_paused(True)
    assert running_labs(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 2
    tmp_path.chmod(0o700)
    assert running_labs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_taken_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(registry.secrets, "token_hex", lambda _: next(tokens))
    with register(tmp_path, record()) as one, register(tmp_path, record()) as two:
        assert (one.record.id, two.record.id) == ("web-aaaa", "web-bbbb")


def test_a_socket_that_a_kill_left_without_a_record_goes(tmp_path: Path) -> None:
    for age_s in (0, 3600):
        path = tmp_path / f"age-{age_s}.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
            left.bind(str(path))
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    assert running_labs(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["age-0.sock"]


def test_a_record_of_another_version_is_passed_over(tmp_path: Path) -> None:
    with register(tmp_path, record()) as one:
        (tmp_path / f"{one.record.id}.json").write_text('{"future": true}')
        assert running_labs(tmp_path) == []
        connection = connect(tmp_path, one.record.id)
        assert connection is not None  # it was not taken for what a kill left
        connection.close()


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 150)
    directory.mkdir(mode=0o755)
    with register(directory, record("y" * 200)) as lab:
        assert running_labs(directory) == [lab.record]
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    someone_elses = [link] if os.geteuid() == 0 else [link, Path("/etc")]
    for directory in someone_elses:
        with pytest.raises(HostError, match="belongs to another user"):
            running_labs(directory)
        with pytest.raises(HostError, match="belongs to another user"):
            register(directory, record())


def test_the_directory_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid()
    monkeypatch.setattr(registry, "_USERS_RUN", tmp_path)
    assert directory_of_labs({"XDG_RUNTIME_DIR": str(tmp_path)}, uid) == tmp_path / "patchbay"
    nobodys = uid + 1
    for useless in ("", "relative", "/no/such/directory"):
        assert directory_of_labs({"XDG_RUNTIME_DIR": useless}, uid) == Path(f"/tmp/patchbay-{uid}")
    assert directory_of_labs({"XDG_RUNTIME_DIR": str(tmp_path)}, nobodys) == Path(f"/tmp/patchbay-{nobodys}")
    (tmp_path / str(uid)).mkdir()
    assert directory_of_labs({}, uid) == tmp_path / str(uid) / "patchbay"


NET = record("net", id="net-1111", nodes=("client", "home"))
WEB = record("web", id="web-2222", nodes=("phone", "home"))
RUN = record("run", id="run-3333", kind="run", nodes=("client",))
PAUSED = msgspec.structs.replace(RUN, id="run-4444", is_paused=True)


@pytest.mark.parametrize(
    ("labs", "node", "wanted", "chosen"),
    [
        ([NET], "anything", None, NET),
        ([RUN], "client", None, RUN),
        ([RUN, NET], "client", None, NET),
        ([RUN, PAUSED], "client", None, PAUSED),
        ([NET, WEB], "phone", None, WEB),
        ([NET, WEB], "phone", "net-1111", NET),
        ([NET, WEB, RUN], "client", "r", RUN),
        ([record("a", id="a"), record("a", id="a-1")], "client", "a", record("a", id="a")),
    ],
)
def test_the_lab_that_is_meant(labs: list[LabRecord], node: str, wanted: str | None, chosen: LabRecord) -> None:
    assert choose(labs, node, wanted) == chosen


@pytest.mark.parametrize(
    ("labs", "node", "wanted", "message"),
    [
        ([], "client", None, "no network of yours is up; `patchbay inspect` builds one"),
        ([], "client", "net", "no network of yours is called net; none is up; `patchbay inspect` builds one"),
        ([NET, WEB], "home", None, "several networks are up, choose one with --inspect: net-1111, web-2222"),
        ([NET, WEB], "nobody", None, "several networks are up, choose one with --inspect: net-1111, web-2222"),
        ([RUN, PAUSED], "client", "run", "several networks are called run…: run-3333, run-4444"),
        ([NET], "client", "new", "no network of yours is called new; there is net-1111"),
    ],
)
def test_what_is_not_clear_is_asked(labs: list[LabRecord], node: str, wanted: str | None, message: str) -> None:
    with pytest.raises(LookupError) as raised:
        choose(labs, node, wanted)
    assert str(raised.value) == message
