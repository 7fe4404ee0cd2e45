import os
from pathlib import Path

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.model.plan import Binary, Plan
from tests.unit.binaries_support import resolve_plans


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def resolve(root: Path, *paths: str, **environment: str) -> dict[str, str]:
    binaries = tuple(Binary(name=f"b{number}", mode="path", path=path) for number, path in enumerate(paths))
    plan = Plan(name="x", source="x.toml", binaries=binaries)
    (resolved,) = resolve_plans([plan], root, PATH=os.environ["PATH"], **environment)
    return resolved


def test_paths_are_relative_to_the_project_root(tmp_path: Path) -> None:
    tool = executable(tmp_path / "bin" / "tool")
    assert resolve(tmp_path, "bin/tool", str(tool)) == {"b0": str(tool), "b1": str(tool)}


def test_target_paths_are_looked_up_where_cargo_builds(tmp_path: Path) -> None:
    debug = executable(tmp_path / "target" / "debug" / "tool")
    assert resolve(tmp_path, "target:debug/tool") == {"b0": str(debug)}
    release = executable(tmp_path / "target" / "release" / "examples" / "tool")
    assert resolve(tmp_path, "target:examples/tool") == {"b0": str(release)}
    cross = executable(tmp_path / "out" / "arm" / "release" / "tool")
    assert resolve(tmp_path, "target:tool", CARGO_TARGET_DIR="out", RUST_TARGET="arm") == {"b0": str(cross)}
    assert resolve(tmp_path, "target:tool", NETSIM_TARGET_DIR=str(tmp_path / "out"), RUST_TARGET="arm") == {
        "b0": str(cross)
    }


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "text").touch(mode=0o644)
    with pytest.raises(InputError) as caught:
        resolve(tmp_path, "gone", "source", "text", "target:tool")
    assert [str(diagnostic) for diagnostic in caught.value.diagnostics] == [
        f"x.toml: binary.b0: there is no {tmp_path}/gone; expected an executable file",
        f"x.toml: binary.b1: {tmp_path}/source is a directory; expected an executable file",
        f"x.toml: binary.b2: {tmp_path}/text is not executable; expected an executable file",
        f"x.toml: binary.b3: there is no {tmp_path}/target/release/tool and no {tmp_path}/target/tool; "
        "expected an executable file",
    ]


def test_variants_of_a_sim_do_not_repeat_a_problem(tmp_path: Path) -> None:
    plan = Plan(name="x", source="x.toml", binaries=(Binary(name="b", mode="path", path="gone"),))
    with pytest.raises(InputError) as caught:
        resolve_plans([plan, plan], tmp_path)
    assert len(caught.value.diagnostics) == 1
