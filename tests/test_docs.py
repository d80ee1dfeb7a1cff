"""What the documents say is so: the README's example prints what it shows, and the generated files are current."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def block(kind: str, after: str = "") -> str:
    found = re.search(rf"```{kind}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("after", ["", "An op of your own"], ids=["unrolled", "own op"])
def test_the_readmes_examples_print_what_they_show(after: str, tmp_path: Path) -> None:
    code = block("python", after)
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "example.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == block("text", after)
    if not after:
        assert (tmp_path / "unrolled.svg").read_text(encoding="utf-8").count("t = ") >= 6


def test_ci_runs_the_readmes_own_test_command() -> None:
    command = block("sh", after="<!-- test command -->").strip()
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extract = next(line for line in script.splitlines() if line.startswith("command=$("))
    found = subprocess.run(
        ["bash", "-c", f'{extract}; echo "$command"'], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert found.stdout.strip() == command == "pip install -e '.[test]' && python -m pytest -n 2"
    assert 'bash -euo pipefail -c "$command"' in script


def test_the_table_of_ops_is_current_and_has_a_row_for_every_op(generate: Any) -> None:
    table = (ROOT / "docs" / "ops.md").read_text(encoding="utf-8")
    assert table == generate.ops_table(), "run python docs/generate.py"
    for op in generate.REGISTRY.values():
        if op.module.startswith("tinygrad7."):
            assert f"| `{op.name}` |" in table


def test_editors_see_every_method_of_tensor(generate: Any) -> None:
    source = (ROOT / "tinygrad7" / "methods.py").read_text(encoding="utf-8")
    declared = re.findall(r"^        def (\w+)\(", source, re.MULTILINE)
    assert sorted(declared) == sorted([*generate.methods(), "T"]), "run python docs/generate.py"
    for name, f in generate.methods().items():
        line = " ".join(generate.signature(name, f).split())
        assert re.sub(r"\W", "", line) in re.sub(r"\W", "", source), f"{name}: run python docs/generate.py"


def test_numpy_is_the_only_hard_dependency_and_the_extras_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [re.split(r"\W", d)[0] for d in project["dependencies"]] == ["numpy"]
    assert set(project["optional-dependencies"]) == {"draw", "cuda12", "cuda13", "demos", "test", "docs", "dev"}
    assert project["requires-python"] == ">=3.11"


def test_importing_brings_in_nothing_optional() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import tinygrad7\n"
        "found = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "optional = {'hypothesis', 'graphviz', 'graphviz_pure', 'cupy', 'matplotlib', 'tqdm', 'safetensors', 'torch'}\n"
        "print(sorted(found & optional))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_nothing_visible_stands_at_the_top_but_what_belongs_there() -> None:
    found = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    top = {line.partition("/")[0] for line in found.stdout.splitlines() if not line.startswith(".")}
    assert top <= {"pyproject.toml", "README.md", "tinygrad7", "tests", "demos", "docs"}
