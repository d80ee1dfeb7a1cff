"""How tensors, tapes and modules show themselves in a notebook."""

from __future__ import annotations

import re
import sys
import timeit
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests import drawn
from tests.test_player import HOSTILE, _Parts
from tinygrad7.draw import notebook


def words(html: str) -> str:
    """The text of a piece of HTML, in one line."""
    parts: list[str] = []

    class Text(_Parts):
        def handle_data(self, data: str) -> None:
            if self.open[-1:] != ["style"]:
                parts.append(data)

    Text(html)
    return " ".join(" ".join(parts).split())


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[words(c) for c in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)] for row in rows]


def test_a_tensor_shows_its_value() -> None:
    t = tg.tensor([[1.0, -2.5], [0.0, 4.0]], requires_grad=True, name="w")
    html = t._repr_html_()
    assert cells(html) == [["1", "-2.5"], ["0", "4"]]
    place = "" if t.device == "cpu" else f", {t.device}"
    assert words(html).startswith(f"w tensor, 2×2, float32{place}, requires grad")
    assert "<svg" not in html
    assert t._repr_svg_() is None
    tg.sum(t).backward()
    assert "has a gradient" in words(t._repr_html_())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3.0, "3"),
        (np.zeros(0), "empty"),
        (np.arange(1000.0), "[0, 1e+03] μ 5e+02"),
        (np.array([True, False]), "True False"),
        (np.array([1.0, np.nan, np.inf, -np.inf]), "1 nan inf -inf"),
        (np.full((100,), np.nan), "nothing finite"),
        (np.array([2, 3]), "2 3"),
        (np.zeros((2, 2, 2)), "[0, 0] μ 0"),
        (np.array(["1e300"], float), "1e+300"),
    ],
)
def test_values_of_every_kind_are_shown(value: Any, said: str) -> None:
    assert words(tg.tensor(value)._repr_html_()).endswith(said)


def test_a_value_too_large_to_look_through_is_counted() -> None:
    t = tg.tensor(np.zeros(1, np.int8))
    t._value = np.broadcast_to(np.int8(1), (notebook.LARGE + 1,))
    assert f"{notebook.LARGE + 1:,} elements" in words(t._repr_html_())


def test_a_result_shows_its_graph_without_a_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "graphviz", None)
    y = drawn.tanh_rnn(3)
    html, picture = y._repr_html_(), y._repr_svg_()
    assert picture is not None
    assert picture in html
    parts = _Parts(picture)
    assert len(parts.of_class("box")) == len(tg.Tape(y)) + 4  # and the three inputs and the first state
    assert len(parts.of_class("step")) == 3
    assert 'id="' not in picture  # a notebook holds many of them
    assert "t = 1" in words(picture)


def test_long_graphs_fold_and_huge_ones_are_only_counted() -> None:
    y = drawn.tanh_rnn(100)
    assert "⋯ ×96 ⋯" in words(y._repr_html_())
    x = y = tg.tensor(1.0, requires_grad=True)
    for k in np.random.default_rng(0).integers(0, 3, 200):
        y = (tg.sin, tg.cos, tg.tanh)[k](y)
    assert y._repr_svg_() is None
    assert "201 entries on the tape" in words(y._repr_html_())
    for _ in range(50_000):
        y = y + x
    assert "more than 1,500 entries" in words(y._repr_html_())
    assert y._repr_svg_() is None
    assert min(timeit.repeat(y._repr_html_, number=1)) < 0.25 * min(timeit.repeat(lambda: tg.Tape(y), number=1))


def test_a_tape_is_a_table_of_its_entries() -> None:
    tape = tg.Tape(drawn.tanh_rnn(2))
    rows = cells(tape._repr_html_())
    assert rows[0] == ["", "entry", "shape", "dtype", "scope", "saved"]
    assert len(rows) == 1 + len(tape)
    assert rows[1] == ["%0", "leaf u", "3×4", "float64", "", ""]
    for row, entry in zip(rows[1:], tape, strict=True):
        assert row[0] == f"%{entry.index}"
        assert row[4] == " / ".join(entry.scope)
        if entry.op != "leaf":
            assert row[1] == entry.text
    assert f"{tape.nbytes:,} bytes" in words(tape._repr_html_())


def test_a_long_tape_shows_its_ends_and_counts_the_rest() -> None:
    tape = tg.Tape(drawn.tanh_rnn(50))
    rows = cells(tape._repr_html_())
    assert len(rows) == 1 + notebook.ROWS + 1
    assert [f"{len(tape) - notebook.ROWS:,} more entries" in row for row in rows].count(True) == 1
    assert rows[-1][0] == f"%{len(tape) - 1}"


def test_ops_of_several_outputs_stand_in_the_table() -> None:
    parts = tg.unstack(tg.tensor(np.ones((3, 2)), requires_grad=True))
    rows = cells(tg.Tape(parts[0] * parts[2])._repr_html_())
    assert any("unstack" in row[1] for row in rows)
    assert any(row[2] == "3 of 2" for row in rows)


def test_a_module_is_a_summary_of_names_shapes_and_counts() -> None:
    net = tg.nn.Sequential(tg.nn.Linear(3, 4, rng=0), tg.nn.BatchNorm1d(4), tg.nn.Tanh())
    rows = {row[0]: row[1:] for row in cells(net._repr_html_())[1:]}
    assert rows["0"][0] == "Linear(3 → 4)"
    assert rows["0.weight"] == ["", "4×3", "12", ""]
    assert rows["1.running_mean"] == ["", "4", "4", "buffer"]
    assert rows["2"][0] == "Tanh()"
    assert f"{net.parameter_count:,} parameters, 8 numbers in buffers" in words(net._repr_html_())


def test_a_shared_weight_is_counted_once_and_said_to_be_shared() -> None:
    net = tg.nn.Sequential(tg.nn.Linear(3, 3, rng=0), tg.nn.Linear(3, 3, rng=0))
    net[1].weight = net[0].weight
    rows = cells(net._repr_html_())
    assert ["1.weight", "", "3×3", "", "shared"] in rows
    assert sum(int(row[3].replace(",", "")) for row in rows[1:] if row[3]) == net.parameter_count


def test_a_large_module_has_a_budget() -> None:
    net = tg.nn.Sequential(*[tg.nn.Linear(2, 2, rng=0) for _ in range(100)])
    rows = cells(net._repr_html_())
    assert len(rows) <= notebook.ROWS + 5
    shown = len(rows) - 2
    assert rows[-1][1] == f"{1 + 300 - shown} more rows"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_a_name(name: str) -> None:
    class Net(tg.nn.Module):
        def __init__(self) -> None:
            self.w = tg.nn.Parameter(np.ones(2), name=name)
            self.parts = {name: tg.nn.Linear(2, 2, rng=0)}

        def extra_repr(self) -> str:
            return name

        def forward(self, x: Any) -> Any:
            with tg.scope(name):
                return tg.sum(self.parts[name](x) * self.w)

    net = Net()
    y = net(tg.tensor(np.ones((1, 2)), name=name))
    allowed = {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td", "pre"}
    graph = {"svg", "g", "rect", "path", "text", "title", "style"}
    for html in (y._repr_html_(), tg.Tape(y)._repr_html_(), net._repr_html_(), net.w._repr_html_()):
        html.encode("utf-8")
        parts = _Parts(html)
        assert {tag for tag, _ in parts.tags} <= allowed | graph
        assert not any(key.startswith("on") for _, attrs in parts.tags for key in attrs)


def test_nothing_raises_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(tg.nn.Module):
        def extra_repr(self) -> str:
            raise RuntimeError("broken")

    assert "Broken" in words(Broken()._repr_html_())

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    y = drawn.diamond()
    monkeypatch.setattr(notebook, "compose", fail)
    assert y._repr_svg_() is None
    assert "6.719 4 entries on the tape" in words(y._repr_html_())
    monkeypatch.setattr(notebook, "_table", fail)
    assert words(tg.Tape(y)._repr_html_()).startswith("<Tape of 4 entries")
    assert "Linear" in words(tg.nn.Linear(2, 2, rng=0)._repr_html_())
