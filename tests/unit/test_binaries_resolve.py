"""From declared binaries to programs: real downloads, real builds of a small crate, overrides, and what goes wrong."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from patchbay_runner.binaries.overrides import parse_override
from patchbay_runner.binaries.progress import Cancellation, Cancelled
from patchbay_runner.binaries.tools import run_tool
from patchbay_runner.errors import BinariesMissing, BinaryError, HostError, InputError
from patchbay_runner.model.plan import Binary, Plan, Prepare
from patchbay_runner.model.topology import Origin
from tests.serving import Site, serving
from tests.unit.binaries_support import Told, commit_all, git, resolve_plans, task

MANIFEST = '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n[features]\nloud = []\n'
MAIN = 'fn main() { println!("bin {}", cfg!(feature = "loud")); }\n'
PATH = os.environ["PATH"]
# The compiler must be found, not configured: rustup's needs the real home.
TOOLS = {name: os.environ[name] for name in ("RUSTUP_HOME", "CARGO_HOME") if name in os.environ}
TOOLS |= {"PATH": PATH, "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))}


def crate(path: Path, main: str = MAIN) -> Path:
    (path / "src").mkdir(parents=True)
    (path / "examples").mkdir()
    (path / "Cargo.toml").write_text(MANIFEST)
    (path / "src" / "main.rs").write_text(main)
    (path / "examples" / "ex.rs").write_text('fn main() { println!("example"); }\n')
    return path


def plan(*binaries: Binary, prepare: tuple[Prepare, ...] = ()) -> Plan:
    return Plan(name="x", source="x.toml", binaries=binaries, prepare=prepare)


def binary(mode: Any, name: str = "tool", line: int = 7, **fields: Any) -> Binary:
    return Binary(name=name, mode=mode, origin=Origin("x.toml", line), **fields)


def output(path: str) -> str:
    return subprocess.run([path], check=True, capture_output=True, text=True).stdout.strip()


def failures(*plans: Plan, root: Path, **options: Any) -> str:
    with pytest.raises(BinariesMissing) as raised:
        resolve_plans(plans, root, **options)
    return str(raised.value)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def test_a_plain_file_becomes_a_program_of_the_binarys_name(tmp_path: Path, site: Site) -> None:
    url = site.put("/download/17", b"#!/bin/sh\necho works as ${0##*/}\n")
    (found,) = resolve_plans([plan(binary("fetch", url=url))], tmp_path)
    assert output(found["tool"]) == "works as tool"
    assert found["tool"].startswith(str(tmp_path / "cache" / "patchbay"))


def test_several_programs_of_one_archive_are_fetched_once(tmp_path: Path, site: Site) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name in ("relay", "client"):
            content = f"#!/bin/sh\necho {name}\n".encode()
            info = tarfile.TarInfo(f"release/{name}")
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    url = site.put("/release.tar.xz", packed.getvalue())
    binaries = (binary("fetch", "relay", url=url), binary("fetch", "peer", url=url, bin="client"))
    (found,) = resolve_plans([plan(*binaries)], tmp_path)
    assert {name: output(path) for name, path in found.items()} == {"relay": "relay", "peer": "client"}
    assert len(site.requests) == 1
    text = failures(plan(binary("fetch", "other", url=url)), root=tmp_path)
    assert text == (
        f"x.toml:7: binary.other: {url} holds no file 'other'; "
        "expected the right name as bin, one of: release/relay, release/client"
    )


def test_downloads_go_in_parallel(tmp_path: Path, site: Site) -> None:
    together = threading.Event()
    urls = [site.put(f"/{name}", b"#!/bin/sh\n", go_on=together) for name in "abc"]
    waiting = threading.Thread(target=_set_when_all_began, args=(site, together))
    told = Told()
    waiting.start()
    resolve_plans([plan(*(binary("fetch", url[-1], url=url) for url in urls))], tmp_path, told=told)
    waiting.join()
    assert together.is_set()
    assert len(told.ends) == 3


def _set_when_all_began(site: Site, together: threading.Event) -> None:
    deadline_s = time.monotonic() + 20
    while site.active < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    if site.active == 3:
        together.set()


def test_everything_that_fails_is_told_with_its_place(tmp_path: Path, site: Site) -> None:
    (tmp_path / "there").touch(mode=0o755)
    sims = (
        plan(
            binary("fetch", "a", 3, url=f"{site.url}/a"),
            binary("fetch", "b", 9, url=site.put("/b", b"x"), sha256="0" * 64),
        ),
        plan(binary("path", "c", 12, path="there")),
    )
    lines = failures(*sims, root=tmp_path).splitlines()
    assert lines[0] == f"x.toml:3: binary.a: {site.url}/a answers 404 Not Found; expected a file to download"
    assert lines[1].startswith(f"x.toml:9: binary.b: the SHA-256 of {site.url}/b is 2d711642b726b044")
    assert lines[1].endswith(f"; expected {'0' * 64}")
    assert len(lines) == 2


def test_a_wrong_path_does_not_wait_for_downloads(tmp_path: Path, site: Site) -> None:
    sim = plan(binary("fetch", "a", url=site.put("/a", b"x")), binary("path", "b", path="gone"))
    assert "there is no" in failures(sim, root=tmp_path)
    assert site.requests == []


def test_a_repository_is_built_once_for_a_commit(tmp_path: Path) -> None:
    source = crate(tmp_path / "source")
    git(source, "init", "-q", "-b", "main")
    commit_all(source)
    plain = binary("build", "plain", repo=f"file://{source}", bin="demo")
    loud = binary("build", "loud", repo=f"file://{source}", bin="demo", features=("loud",))
    everything = binary("build", "all", repo=f"file://{source}", bin="demo", all_features=True)
    example = binary("build", "example", repo="source", example="ex")
    told = Told()
    (found,) = resolve_plans([plan(plain, loud, everything, example)], tmp_path, told=told, **TOOLS)
    assert {name: output(path) for name, path in found.items()} == {
        "plain": "bin false", "loud": "bin true", "all": "bin true", "example": "example",
    }  # fmt: skip
    assert any("Compiling demo" in line for line in told.lines)

    told = Told()
    assert resolve_plans([plan(plain)], tmp_path, told=told, **TOOLS) == [{"plain": found["plain"]}]
    assert not any("building" in start for start in told.starts)
    assert resolve_plans([plan(plain)], tmp_path, may_build=False, PATH=PATH) == [{"plain": found["plain"]}]

    (source / "src" / "main.rs").write_text('fn main() { println!("newer"); }\n')
    commit_all(source)
    (newer,) = resolve_plans([plan(plain)], tmp_path, **TOOLS)
    assert output(newer["plain"]) == "newer"
    assert output(found["plain"]) == "bin false", "what an earlier run uses stays"


def test_a_source_directory_is_built_in_place(tmp_path: Path) -> None:
    crate(tmp_path / "vendor")
    tool = binary("build", path="vendor", bin="demo")
    text = failures(plan(tool), root=tmp_path, may_build=False, **TOOLS)
    assert f"there is no {tmp_path}/vendor/target/release/demo, and --no-build was given" in text
    (found,) = resolve_plans([plan(tool)], tmp_path, **TOOLS)
    assert found == {"tool": str(tmp_path / "vendor/target/release/demo")}
    assert resolve_plans([plan(tool)], tmp_path, may_build=False, **TOOLS) == [found]


def test_builds_that_overwrite_each_other_are_kept_apart(tmp_path: Path) -> None:
    crate(tmp_path / "vendor")
    binaries = [binary("build", "a", path="vendor", bin="demo")]
    binaries.append(binary("build", "b", path="vendor", bin="demo", features=("loud",)))
    (found,) = resolve_plans([plan(*binaries)], tmp_path, **TOOLS)
    assert [output(found[name]) for name in "ab"] == ["bin false", "bin true"]


def test_the_project_is_prepared_before_its_targets_are_looked_for(tmp_path: Path) -> None:
    crate(tmp_path)
    sim = plan(
        binary("target", "a", example="ex"),
        binary("path", "b", path="target:demo"),
        binary("path", "c", path="out/release/examples/ex"),
        prepare=(Prepare(examples=("ex",), bins=("demo",), features=("loud",)),),
    )
    (found,) = resolve_plans([sim], tmp_path, NETSIM_TARGET_DIR="out", **TOOLS)
    assert [output(found[name]) for name in "abc"] == ["example", "bin true", "example"]
    assert found["a"] == str(tmp_path / "out/release/examples/ex")
    assert resolve_plans([sim], tmp_path, may_build=False, NETSIM_TARGET_DIR="out", **TOOLS) == [found]


def test_the_target_directory_of_a_workspace_is_asked_of_cargo(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text('[workspace]\nmembers = ["member"]\n')
    member = crate(tmp_path / "member")
    built = tmp_path / "target" / "release" / "demo"
    (found,) = resolve_plans([plan(binary("build", bin="demo"))], tmp_path, **TOOLS)
    assert found == {"tool": str(built)}
    assert resolve_plans([plan(binary("target", bin="demo"))], member, **TOOLS) == [found]


def test_a_build_that_fails_shows_its_last_lines_and_its_log(tmp_path: Path) -> None:
    crate(tmp_path / "vendor", "fn main() { nonsense }\n")
    text = failures(plan(binary("build", path="vendor", bin="demo")), root=tmp_path, **TOOLS)
    first, *rest = text.splitlines()
    assert first.startswith(
        f"x.toml:7: binary.tool: cargo cannot build bin demo of {tmp_path}/vendor; its whole output is in "
    )
    assert any("cannot find value `nonsense`" in line for line in rest)
    log = Path(first.rpartition(" ")[2])
    assert "cannot find value `nonsense`" in log.read_text()


def test_a_target_that_is_not_there_is_explained(tmp_path: Path) -> None:
    crate(tmp_path / "vendor")
    text = failures(plan(binary("build", path="vendor", example="xe")), root=tmp_path, **TOOLS)
    assert text == f"x.toml:7: binary.tool: {tmp_path}/vendor has no example 'xe'; expected one of: ex"
    text = failures(plan(binary("build", path="nowhere", example="x")), root=tmp_path, **TOOLS)
    assert f"there is no directory {tmp_path}/nowhere" in text
    (tmp_path / "empty").mkdir()
    text = failures(plan(binary("build", path="empty", example="x")), root=tmp_path, **TOOLS)
    assert f"cargo cannot read {tmp_path}/empty" in text
    text = failures(plan(binary("build", path="vendor", bin="demo")), root=tmp_path, PATH="/nowhere")
    assert "cargo is not to be found" in text


def test_a_directory_of_sources_is_no_program(tmp_path: Path) -> None:
    crate(tmp_path / "vendor")
    text = failures(plan(binary("path", path="vendor")), root=tmp_path)
    assert text.endswith('vendor is a directory; expected an executable file, or mode = "build" for sources')


def test_overrides(tmp_path: Path, site: Site) -> None:
    crate(tmp_path / "vendor")
    (tmp_path / "plain").write_text("#!/bin/sh\necho override\n")
    declared = plan(binary("path", path="gone"), binary("build", "built", repo="https://example.org/x", bin="demo"))
    url = site.put("/fetched", b"#!/bin/sh\necho fetched\n")
    (found,) = resolve_plans([declared], tmp_path, "tool:path:plain", "built:build:vendor", **TOOLS)
    assert [output(found[name]) for name in ("tool", "built")] == ["override", "bin false"]
    overrides = (f"tool:fetch:{url}", "built:target:demo")
    (found,) = resolve_plans([declared], tmp_path, *overrides, CARGO_TARGET_DIR="vendor/target", **TOOLS)
    assert [output(found[name]) for name in ("tool", "built")] == ["fetched", "bin false"]


def test_overrides_that_fit_nothing(tmp_path: Path) -> None:
    declared = plan(binary("path", path="gone"))
    with pytest.raises(InputError) as raised:
        resolve_plans([declared], tmp_path, "toll:path:x", "tool:path:x", "tool:path:y")
    assert str(raised.value).splitlines() == [
        "--binary toll:path:x: no sim declares a binary 'toll' (did you mean 'tool'?); expected one of: tool",
        "--binary tool:path:y: tool:path:x overrides 'tool' already",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("tool", "expected NAME:MODE:VALUE"), ("a:copy:x", "unknown mode 'copy'"), ("a:fetch:x", "http:// or https://"),
     ("a:path:", "expected NAME"), (":path:x", "expected NAME")],
)  # fmt: skip
def test_overrides_that_are_no_overrides(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_override(text)


def test_a_cache_that_cannot_be_written_is_the_hosts_fault(tmp_path: Path, site: Site) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(HostError, match="cannot keep tool in"):
        resolve_plans([plan(binary("fetch", url=site.put("/x", b"x")))], tmp_path)


def test_two_sims_that_mean_the_same_share_it(tmp_path: Path, site: Site) -> None:
    one = binary("fetch", url=site.put("/x", b"#!/bin/sh\n"))
    first, second = resolve_plans([plan(one), plan(msgspec.structs.replace(one, origin=Origin("y.toml", 1)))], tmp_path)
    assert first == second
    assert len(site.requests) == 1


def test_a_tool_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    cancelled = Cancellation()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    with pytest.raises(Cancelled):
        run_tool(
            ["sh", "-c", "sleep 61 & echo $! > pid; sleep 62"], tmp_path, {"PATH": PATH}, task(cancelled=cancelled)
        )
    timer.join()
    pid = int((tmp_path / "pid").read_text())
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_tool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match="cannot run no-such-tool"):
        run_tool(["no-such-tool"], tmp_path, {"PATH": PATH}, task())
