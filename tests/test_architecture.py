"""The order of the layers, read from the source: a file imports only from rows above its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad7 as tg
from tinygrad7.op import REGISTRY, Op

ROOT = Path(tg.__file__).parent
pytestmark = pytest.mark.host

# One row a layer, from the bottom. Names are modules or packages below ``tinygrad7``; what stands in a row imports
# only from rows above it, or from itself where it is a package.
LAYERS = [
    ["backend", "tree", "methods", "names", "settings"],
    ["context", "domains"],
    ["node", "arrays"],
    ["tensor"],
    ["messages"],
    ["op"],
    ["tape", "userop"],
    ["declare"],
    ["random"],
    ["ops.axes", "ops.create", "ops.erf", "ops.trigonometry"],
    ["ops.elementwise"],
    ["ops.activation", "ops.compare", "ops.shape"],
    ["ops.convert", "ops.indexing"],
    ["ops.reduce"],
    ["ops.linalg"],
    ["ops.conv", "ops.loss", "ops.layers", "ops.recurrent_kernels", "ops.recurrent_cuda"],
    ["ops.recurrent", "ops.numpy_names"],
    ["walk"],
    ["grad"],
    ["transforms", "checkpoint", "wengert"],
    ["diagnose", "testing", "nn"],
    ["optim", "data", "draw"],
    ["train"],
]
ROW = {name: row for row, names in enumerate(LAYERS) for name in names}
SELDOM = {
    "difflib",
    "hashlib",
    "html",
    "importlib.resources",
    "subprocess",
    "zipfile",
}  # a millisecond or more to import, each
OPTIONAL = SELDOM | {"cupy", "hypothesis", "graphviz", "graphviz_pure", "matplotlib", "tqdm", "safetensors", "IPython"}
FILES = sorted(p for p in ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """'ops.shape' for ops/shape.py, 'nn' for nn/__init__.py, '' for the package itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def row_of(module: str) -> int | None:
    """The row of a module, or of the package that it is in."""
    return ROW.get(module, ROW.get(module.partition(".")[0]))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The modules of this package that ``tree`` imports, with the line. ``from a import b`` may name a module b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "tinygrad7":
                    yield alias.name.removeprefix("tinygrad7").lstrip("."), node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            if (node.module or "").partition(".")[0] == "tinygrad7":
                base = (node.module or "").removeprefix("tinygrad7").lstrip(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".lstrip(".")
                    is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists() or (
                        ROOT / inner.replace(".", "/")
                    ).is_dir()
                    yield (inner if is_module else base), node.lineno


def for_types_only(tree: ast.Module) -> set[int]:
    """The lines of imports under ``if TYPE_CHECKING``."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_from_rows_above_it(path: Path) -> None:
    module, tree = module_of(path), ast.parse(path.read_text(encoding="utf-8"))
    if path == ROOT / "__init__.py":
        return
    mine = row_of(module)
    if module in ("ops",):
        assert not list(imports(tree))
        return
    assert mine is not None, f"{module}: give it a row in LAYERS"
    types = for_types_only(tree)
    for wanted, line in imports(tree):
        if line in types:
            continue
        theirs = row_of(wanted)
        where = f"{path.name}:{line} imports {wanted or 'the package itself'}"
        package = module.partition(".")[0]
        if wanted.startswith(f"{package}.") and package != "ops":
            continue  # the files of one package are ordered by there being no cycle
        assert theirs is not None, f"{where}, which nothing inside may do"
        assert theirs < mine, f"{where}, which is not above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_imports_late_except_what_is_optional_or_seldom_needed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    top |= {id(n) for node in tree.body if isinstance(node, ast.If | ast.Try) for n in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in top:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                assert {name, name.partition(".")[0]} & OPTIONAL, f"{path.name}:{node.lineno}: late import of {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_optional_or_seldom_needed_is_imported_late(path: Path) -> None:
    if path.is_relative_to(ROOT / "testing"):  # `import tinygrad7` does not reach it
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = for_types_only(tree)
    for node in tree.body:
        for n in ast.walk(node) if isinstance(node, ast.If | ast.Try) else [node]:
            if isinstance(n, ast.Import | ast.ImportFrom) and n.lineno not in types:
                names = [a.name for a in n.names] if isinstance(n, ast.Import) else [n.module or ""]
                found = {part for name in names for part in (name, name.partition(".")[0])} & OPTIONAL
                assert not found, f"{path.name}:{n.lineno}: {found} must be imported where it is needed"


def test_there_are_no_cycles() -> None:
    """Also among the files of one package, which the rows do not order."""
    edges = {}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        types = for_types_only(tree)
        if path != ROOT / "__init__.py":
            edges[module_of(path)] = {wanted for wanted, line in imports(tree) if line not in types}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a cycle: {' -> '.join((*way, module))}"
        if module not in done:
            for wanted in edges.get(module, ()):
                visit(wanted, (*way, module))
            done.add(module)

    for module in edges:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_are_imported_by_nothing_inside(path: Path) -> None:
    """``nn/__init__.py`` hands names on to users; files inside name the file that they need."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path == ROOT / "__init__.py":
        return
    for wanted, line in imports(tree):
        assert not (ROOT / wanted.replace(".", "/")).is_dir(), f"{path.name}:{line} imports the package {wanted!r}"


def test_cupy_is_named_in_backend_alone() -> None:
    for path in FILES:
        if path.name == "backend.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [node.id] if isinstance(node, ast.Name) else []
            assert not any(re.match(r"cupyx?\b", n) for n in names), f"{path.name}:{node.lineno} names CuPy"


def test_the_layers_name_no_file_that_is_gone() -> None:
    present = {module_of(p) for p in FILES}
    assert not [name for name in ROW if name not in present and not (ROOT / name.replace(".", "/")).is_dir()]


def test_files_are_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert not {name: n for name, n in lengths.items() if n > 400}


OWN = [op for op in REGISTRY.values() if op.module.startswith("tinygrad7.")]


@pytest.mark.parametrize("op", OWN, ids=lambda op: op.name)
def test_every_op_has_a_docstring_with_its_formula_and_a_domain(op: Op) -> None:
    assert op.doc, f"{op.name} has no docstring"
    assert re.search(r"[\u0304\u0305]|[āāēīōū]|ȳ|x̄|Ā", op.doc), f"{op.name}: no derivative in its docstring: {op.doc!r}"
    assert "=" in op.doc
    assert callable(op.domain), f"{op.name} has no domain: nothing would test it"


@pytest.mark.parametrize("op", OWN, ids=lambda op: op.name)
def test_every_op_has_a_rule(op: Op) -> None:
    assert op.rules or op.joint is not None
