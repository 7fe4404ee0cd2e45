"""What the repository gives to CI services: the action, the image's recipe, the workflows of docs/guide/ci.md."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from patchbay_runner.cli.main import COMMANDS

# GitHub's "Metadata syntax for GitHub Actions", as far as a composite action may use it.
TOP_KEYS = {"name", "description", "author", "inputs", "outputs", "runs"}
STEP_KEYS = {"name", "id", "if", "shell", "run", "env", "uses", "with", "working-directory", "continue-on-error"}
CI_GUIDE = Path("docs/guide/ci.md")


@pytest.fixture(scope="module")
def action(checkout: Path) -> dict[str, Any]:
    document = yaml.safe_load((checkout / "action.yml").read_text())
    assert isinstance(document, dict)
    return document


def steps(action: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in action["runs"]["steps"]}


def test_the_action_is_a_composite_one(action: dict[str, Any]) -> None:
    assert action.keys() <= TOP_KEYS
    assert {"name", "description", "runs"} <= action.keys()
    assert action["runs"].keys() == {"using", "steps"}
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step.keys() <= STEP_KEYS
        assert ("run" in step) != ("uses" in step)
        assert ("run" in step) == ("shell" in step), "a run step of a composite action must name its shell"
        assert "@" in step.get("uses", "@")
    for described in (*action["inputs"].values(), *action["outputs"].values()):
        assert described["description"]
        assert described.keys() <= {"description", "default", "required", "value"}


def test_every_input_is_used_documented_and_never_part_of_a_script(action: dict[str, Any], checkout: Path) -> None:
    text = (checkout / "action.yml").read_text()
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == action["inputs"].keys()
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", (checkout / CI_GUIDE).read_text(), re.MULTILINE))
    assert action["inputs"].keys() <= documented
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an expression in a script is code to whoever controls its value"


def run_step(step: dict[str, Any], root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script of a step, as GitHub runs it, with programs of `root`/bin first."""
    path = f"{root / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=root, env={"PATH": path, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def fake(root: Path, name: str, script: str) -> None:
    (root / "bin").mkdir(exist_ok=True)
    program = root / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("args", "junit", "given"),
    [
        ("sims/ --shard 1/4", "", ["sims/", "--shard", "1/4"]),
        ("sims/a.toml '--matrix=nat=a b$c\"é'", "", ["sims/a.toml", '--matrix=nat=a b$c"é']),
        ("sims/*.toml $(touch hacked)", "", ["sims/*.toml", "$(touch", "hacked)"]),
        ("  one\n  two ", "a b.xml", ["--junit", "a b.xml", "one", "two"]),
        (shlex.join(["it's", 'a "sim"']), "", ["it's", 'a "sim"']),
    ],
)
def test_the_action_passes_arguments_on_as_they_are(
    action: dict[str, Any], tmp_path: Path, args: str, junit: str, given: list[str]
) -> None:
    fake(tmp_path, "patchbay", 'printf "%s\\0" "$@" >given\nexit 5')
    output = tmp_path / "output"
    ended = run_step(
        steps(action)["Run the sims"], tmp_path, ARGS=args, JUNIT=junit, WORK_DIR="runs", GITHUB_OUTPUT=str(output)
    )
    assert ended.returncode == 5, ended.stderr
    assert output.read_text() == "exit-code=5\n"
    assert (tmp_path / "given").read_text().split("\0")[:-1] == ["run", "--work-dir", "runs", *given]
    assert not (tmp_path / "hacked").exists()


def test_an_open_quote_runs_nothing(action: dict[str, Any], tmp_path: Path) -> None:
    fake(tmp_path, "patchbay", "touch given")
    environment = {"ARGS": "sims/ 'oops", "JUNIT": "", "WORK_DIR": "runs", "GITHUB_OUTPUT": "output"}
    ended = run_step(steps(action)["Run the sims"], tmp_path, **environment)
    assert ended.returncode != 0
    assert "unmatched single quote" in ended.stderr
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize("has_nft", [True, False])
def test_the_action_installs_nft_where_it_is_missing(action: dict[str, Any], tmp_path: Path, has_nft: bool) -> None:
    fake(tmp_path, "sudo", 'echo "$@" >>called\ncase $1 in modprobe) exit 1 ;; esac')
    for program in ("bash", "env"):
        (tmp_path / "bin" / program).symlink_to(f"/bin/{program}" if program == "bash" else "/usr/bin/env")
    if has_nft:
        fake(tmp_path, "nft", "")
    script = steps(action)["Install what labs need"]["run"].replace("/usr/sbin:/sbin", str(tmp_path / "nothing"))
    ended = subprocess.run(
        ["/bin/bash", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    called = (tmp_path / "called").read_text()
    assert ("apt-get install" in called) is not has_nft
    assert called.splitlines()[-1] == "modprobe -q sch_netem"


def test_the_action_touches_apparmor_only_where_it_restricts(action: dict[str, Any], tmp_path: Path) -> None:
    step = steps(action)["Allow user namespaces"]
    setting = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    assert setting in step["run"]
    for value, calls in (("1", ["sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"]), ("0", []), (None, [])):
        (tmp_path / "called").write_text("")
        (tmp_path / "setting").unlink(missing_ok=True)
        if value:
            (tmp_path / "setting").write_text(f"{value}\n")
        fake(tmp_path, "sudo", 'echo "$@" >>called')
        script = {"run": step["run"].replace(setting, str(tmp_path / "setting"))}
        assert run_step(script, tmp_path).returncode == 0
        assert (tmp_path / "called").read_text().splitlines() == calls


def documents(checkout: Path) -> list[Any]:
    """The YAML of docs/guide/ci.md."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (checkout / CI_GUIDE).read_text(), re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def test_workflows_give_the_action_inputs_that_it_has(action: dict[str, Any], checkout: Path) -> None:
    jobs = [
        job
        for document in documents(checkout)
        if isinstance(document, dict)
        for job in document.get("jobs", {}).values()
    ]
    used = [step for job in jobs for step in job["steps"] if "patchbay@" in step.get("uses", "")]
    assert len(used) >= 5
    for step in used:
        assert step.get("with", {}).keys() <= action["inputs"].keys()
    for job in jobs:
        assert job["runs-on"].startswith("ubuntu-")


def test_commands_of_the_documentation_have_the_options_that_they_use(checkout: Path) -> None:
    pages = [checkout / CI_GUIDE, *(checkout / "docs" / "commands").glob("m*.md")]
    found = [
        line
        for page in pages
        for line in re.findall(r"patchbay ((?:run|plan|matrix|merge) [^`\n|]*)", page.read_text())
    ]
    assert len(found) >= 8
    for line in found:
        name, *arguments = line.split()
        command = getattr(import_module(COMMANDS[name]), name)
        known = {option for parameter in command.params for option in parameter.opts}
        options = {argument.partition("=")[0] for argument in arguments if re.match(r"--[a-z]", argument)}
        assert options <= known, line


def test_the_image_has_only_packages_of_the_projects_list(checkout: Path) -> None:
    recipe = (checkout / "Containerfile").read_text()
    installed = re.search(r"apt-get install (.*?) \\$", recipe, re.MULTILINE)
    assert installed
    packages = [word for word in installed[1].split() if not word.startswith("-")]
    listed = {
        line.split()[1]
        for line in (checkout / "scripts" / "packages.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert packages
    assert set(packages) <= listed
    assert "USER patchbay" in recipe


def test_what_the_image_leaves_out_is_not_needed_to_install(checkout: Path) -> None:
    left_out = (checkout / ".containerignore").read_text().splitlines()
    assert not {"patchbay_runner", "README.md", "pyproject.toml", "LICENSE-MIT"} & set(left_out)
    assert (checkout / ".dockerignore").readlink() == Path(".containerignore")
