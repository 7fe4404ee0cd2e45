"""The layering of docs/internals/architecture.md holds: its table is read from there and compared with every import.

Imports under TYPE_CHECKING count, because an annotation couples two layers as much as a call does.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = "patchbay_runner"
EVERYTHING = "everything"
# Files beside the layers: the version, which every layer may read, with the library's names, which it imports when
# somebody asks for them; and the entry point, which imports the command line when it is called.
BESIDE = {"__init__": frozenset({"library"}), "__main__": frozenset({"cli"})}
TERMINAL_LIBRARIES = {"click", "rich"}

Table = dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Import:
    importer: str
    imported: str
    line: int
    is_inside_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def read_table(markdown: str) -> Table:
    """Layer to the layers it may import, from the rows ``| `layer/` | ... | errors, model |``."""
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|.*\| ([^|]+) \|$", markdown, re.MULTILINE)
    layers = [layer for layer, _ in rows]
    words = {"nothing": [], EVERYTHING: layers}
    return {layer: frozenset(words.get(allowed, allowed.split(", "))) for layer, allowed in rows} | BESIDE


def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name to file; a package is called by its folder."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports_of(module: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """Every import of a module of the package, wherever in the file it stands."""

    folders = {name.rpartition(".")[0] for name in known}

    def visit(node: ast.AST, is_inside_function: bool) -> Iterator[Import]:
        for name in targets(node):
            owner = name if name in known or name in folders else name.rpartition(".")[0]
            if owner.split(".")[0] == PACKAGE:
                yield Import(module, owner, node.lineno, is_inside_function)  # type: ignore[attr-defined]
        inside = is_inside_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    def targets(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                folder = [PACKAGE, *path.parent.relative_to(known[PACKAGE].parent).parts]
                base = folder[: len(folder) + 1 - level] if level else []
                yield from (".".join([*base, *filter(None, [source]), alias.name]) for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


def cycle_in(imports: list[Import]) -> str | None:
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.importer != found.imported:
            graph.setdefault(found.importer, set()).add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return "import cycle: " + " <- ".join(error.args[1])
    return None


def layering_problems(root: Path, table: Table) -> list[str]:
    modules = modules_of(root)
    problems = [f"{name}: no row for {layer_of(name)}" for name in modules if layer_of(name) not in table]
    imports = [found for name, path in modules.items() for found in imports_of(name, path, modules)]
    for found in imports:
        here, there = layer_of(found.importer), layer_of(found.imported)
        if there not in {here, "__init__", *table.get(here, ())}:
            problems.append(f"{found}: {here} may not import {there}")
        if found.is_inside_function and here not in {"cli", *BESIDE}:
            problems.append(f"{found}: inside a function")
    cycle = cycle_in([found for found in imports if layer_of(found.importer) not in BESIDE])
    return problems + ([cycle] if cycle else [])


def terminal_problems(root: Path) -> list[str]:
    """Places outside cli/ that print, exit, or import what does."""
    problems = []
    for name, path in modules_of(root).items():
        if layer_of(name) not in {"cli", "__main__"}:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            problems += [f"{name}:{line}: {what}" for line, what in terminal_uses(tree)]
    return problems


def terminal_uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit" as name)):
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit"):
                yield node.lineno, "sys.exit"
            case ast.Call(func=ast.Attribute(value=stream, attr="write" | "writelines")) if is_standard(stream):
                yield node.lineno, ast.unparse(node.func)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="os"), attr="write"), args=[ast.Constant(value=1 | 2), *_]
            ):
                yield node.lineno, "os.write"
            case ast.Raise(exc=ast.Name(id="SystemExit") | ast.Call(func=ast.Name(id="SystemExit"))):
                yield node.lineno, "SystemExit"
            case ast.Import() | ast.ImportFrom(level=0) if TERMINAL_LIBRARIES & libraries(node):
                yield node.lineno, ast.unparse(node)


def libraries(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.split(".")[0] for name in names}


def is_standard(stream: ast.expr) -> bool:
    return ast.unparse(stream).removesuffix(".buffer") in {
        "sys.stdout",
        "sys.stderr",
        "sys.__stdout__",
        "sys.__stderr__",
    }


def test_every_import_follows_the_table(checkout: Path) -> None:
    table = read_table((checkout / "docs" / "internals" / "architecture.md").read_text(encoding="utf-8"))
    assert layering_problems(checkout / PACKAGE, table) == []


def test_only_the_command_line_prints_and_exits(checkout: Path) -> None:
    assert terminal_problems(checkout / PACKAGE) == []


def test_the_table_is_an_order(checkout: Path) -> None:
    table = read_table((checkout / "docs" / "internals" / "architecture.md").read_text(encoding="utf-8"))
    assert {"errors", "model", "loader", "parsers", "results", "kernel", "lab", "executor", "cli"} <= table.keys()
    assert set().union(*table.values()) <= table.keys()
    order = TopologicalSorter({layer: allowed - {layer} for layer, allowed in table.items()}).static_order()
    ranks = {layer: rank for rank, layer in enumerate(order)}
    chain = ["errors", "model", "kernel", "lab", "executor", "cli"]
    assert all(ranks[lower] < ranks[upper] for lower, upper in pairwise(chain))


# The test itself is tested on small packages, each a dictionary of path to source.

SMALL_TABLE = """
| `errors.py` | errors | nothing |
| `kernel/` | mechanisms | errors |
| `lab/` | networks | errors, kernel |
| `cli/` | commands | everything |
"""


def write_package(root: Path, files: dict[str, str]) -> Path:
    package = root / PACKAGE
    for name, source in ({"__init__.py": "", "errors.py": "", "kernel/a.py": "", "lab/b.py": ""} | files).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"kernel/a.py": f"import {PACKAGE}.lab.b"}, "kernel may not import lab"),
        ({"kernel/a.py": f"from {PACKAGE}.lab import b"}, "kernel may not import lab"),
        ({"kernel/a.py": "from ..lab.b import thing"}, "kernel may not import lab"),
        ({"kernel/a.py": f"if TYPE_CHECKING:\n    from {PACKAGE}.lab.b import T"}, "kernel may not import lab"),
        ({"kernel/a.py": f'import importlib\nimportlib.import_module("{PACKAGE}.lab.b")'}, "may not import lab"),
        ({"errors.py": f"from {PACKAGE} import kernel"}, "errors may not import kernel"),
        ({"lab/b.py": f"from {PACKAGE}.cli.main import main"}, "lab may not import cli"),
        ({"__init__.py": f"from {PACKAGE}.errors import E"}, "__init__ may not import errors"),
        ({"lab/b.py": f"def f():\n    from {PACKAGE}.errors import E"}, "inside a function"),
        ({"lab/b.py": "from . import c", "lab/c.py": f"import {PACKAGE}.lab.b"}, "import cycle"),
        ({"lab/b.py": "from . import c", "lab/c.py": "from . import d", "lab/d.py": "from .b import x"}, "cycle"),
        ({"cli/m.py": f"from {PACKAGE}.cli import n", "cli/n.py": f"def f():\n    import {PACKAGE}.cli.m"}, "cycle"),
        ({"extra/z.py": ""}, "no row for extra"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    found = layering_problems(write_package(tmp_path, files), read_table(SMALL_TABLE))
    assert any(problem in line for line in found), found


def test_right_imports_are_no_problem(tmp_path: Path) -> None:
    files = {
        "lab/__init__.py": "from .b import thing",
        "lab/b.py": f"import os\nfrom {PACKAGE} import __version__\nfrom {PACKAGE}.kernel import a\nfrom . import c",
        "lab/c.py": f"from {PACKAGE}.errors import E",
        "cli/main.py": f"def run():\n    from {PACKAGE}.lab import b\n    print(b)",
        "__main__.py": f"from {PACKAGE}.cli.main import run",
    }
    package = write_package(tmp_path, files)
    assert layering_problems(package, read_table(SMALL_TABLE)) == []
    assert terminal_problems(package) == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "exit()",
        "raise SystemExit",
        "raise SystemExit(2)",
        "import sys\nsys.exit(1)",
        "import sys\nsys.stderr.write('x')",
        "import sys\nsys.stdout.buffer.write(b'x')",
        "import os\nos.write(2, b'x')",
        "import click",
        "from rich.table import Table",
    ],
)
def test_printing_below_the_command_line_is_found(tmp_path: Path, source: str) -> None:
    assert terminal_problems(write_package(tmp_path, {"lab/b.py": source})) != []


def test_flushing_before_a_fork_is_not_printing(tmp_path: Path) -> None:
    source = "import os, sys\nsys.stdout.flush()\nos.write(descriptor, b'x')"
    assert terminal_problems(write_package(tmp_path, {"lab/b.py": source})) == []
