"""From DOT text to a file: the system's ``dot``, else the ``graphviz-pure`` that the ``draw`` extra installs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

FORMATS = ("svg", "png", "pdf", "dot", "gv")


class RendererError(RuntimeError):
    """No program that can draw DOT text was found, or the one found failed."""


def renderer(form: str) -> str:
    """The path of a program that takes DOT text and ``-T form``. Raises ``RendererError`` where there is none."""
    dot = shutil.which("dot")
    if dot:
        return dot
    beside = Path(sys.executable).with_name("graphviz-pure" + (".exe" if os.name == "nt" else ""))
    pure = shutil.which("graphviz-pure") or (str(beside) if beside.exists() else None)
    if pure and form != "pdf":
        return pure
    if pure:
        raise RendererError(
            "draw: pdf needs Graphviz itself (graphviz-pure writes svg and png): install it with your system's package "
            "manager (apt install graphviz, brew install graphviz), or draw to .svg"
        )
    raise RendererError(
        f"draw: nothing here can turn DOT text into {form}: pip install 'tinygrad7[draw]' brings graphviz-pure, or "
        "install Graphviz with your system's package manager (apt install graphviz). The DOT text itself needs "
        "neither: print(tg.draw(y).source), or path='graph.dot'"
    )


def render(source: str, form: str) -> bytes:
    """``source`` drawn as svg, png or pdf."""
    import subprocess

    program = renderer(form)
    more = ["-Gdpi=144"] if form == "png" else []
    done = subprocess.run([program, f"-T{form}", *more], input=source.encode(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise RendererError(f"draw: {Path(program).name} failed: {words[-1] if words else f'exit {done.returncode}'}")
    return done.stdout


def save(source: str, path: str | os.PathLike[str]) -> None:
    """Write the drawing to ``path``; the ending says how. Raises ``ValueError`` for one that is not known."""
    target = Path(path)
    form = target.suffix[1:].lower()
    if form not in FORMATS:
        raise ValueError(f"draw: path {str(path)!r} must end in one of .{', .'.join((*FORMATS, 'html'))}")
    if form in ("dot", "gv"):
        target.write_text(source, encoding="utf-8")
    else:
        target.write_bytes(render(source, form))


def digraph(body: list[str], attributes: dict[str, dict[str, str]]) -> Any:
    """A ``graphviz.Digraph`` with these lines, which falls back on ``graphviz-pure`` where there is no ``dot``.

    Raises ``ImportError`` where the ``graphviz`` package is missing.
    """
    try:
        import graphviz  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("draw: the graphviz package is missing: pip install 'tinygrad7[draw]'") from error

    class Graph(graphviz.Digraph):  # type: ignore[misc]
        def pipe(self, format: str | None = None, *args: Any, encoding: str | None = None, **kwargs: Any) -> Any:
            form = format or self.format
            if shutil.which("dot") or form not in ("svg", "png", "pdf"):
                return super().pipe(format, *args, encoding=encoding, **kwargs)
            drawn = render(self.source, form)
            return drawn.decode(encoding) if encoding else drawn

        def render(self, filename: Any = None, directory: Any = None, *args: Any, **kwargs: Any) -> str:
            if shutil.which("dot"):
                return str(super().render(filename, directory, *args, **kwargs))
            form = kwargs.get("format") or self.format
            source = Path(self.save(filename, directory=directory))
            target = Path(kwargs.get("outfile") or f"{source}.{form}")
            target.write_bytes(render(self.source, form))
            if kwargs.get("cleanup"):
                source.unlink()
            return str(target)

        def _repr_image_svg_xml(self) -> str:
            return str(self.pipe("svg", encoding="utf-8"))

    Graph.__name__ = Graph.__qualname__ = "Digraph"
    graph = Graph("tinygrad7", format="svg")
    graph.graph_attr.update(attributes["graph"])
    graph.node_attr.update(attributes["node"])
    graph.edge_attr.update(attributes["edge"])
    graph.body = [line + "\n" for line in body]
    return graph
