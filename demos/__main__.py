"""``python -m demos`` lists the demos, ``python -m demos NAME ...`` runs one.

A demo is a module or package here whose name does not start with an underscore. Its docstring's first line is what the
list says; its ``main(arguments)`` returns the exit status.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """The demos there are."""
    return sorted(module.name for module in pkgutil.iter_modules([str(HERE)]) if not module.name.startswith("_"))


def purpose(name: str) -> str:
    """The first line of a demo's docstring, read without running it."""
    file = HERE / f"{name}.py"
    text = (file if file.exists() else HERE / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def main(arguments: list[str]) -> int:
    known = names()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("python -m demos NAME [options]; NAME --help tells the options\n")
        width = max(map(len, known))
        for name in known:
            print(f"  {name:{width}}  {purpose(name)}")
        return 0
    name = arguments[0]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; is {near[0]!r} meant?" if near else ""
        print(f"there is no demo {name!r}{hint} There are: {', '.join(known)}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f"demos.{name}").main(arguments[1:])
    return status


def command(arguments: list[str]) -> int:
    """``main`` for a shell. When whoever reads the output has gone (``| head``), it ends quietly."""
    try:
        try:
            return main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        return 128 + 13  # SIGPIPE, as shells count it


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
