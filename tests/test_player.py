"""The tape player: what its page holds, that every entry is played once each way, and that names are only names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests import drawn
from tinygrad7.backend import to_numpy
from tinygrad7.draw.player import BOXES, page, save_player
from tinygrad7.draw.replay import Replay, formulas
from tinygrad7.draw.script import EVENTS, GRADIENTS
from tinygrad7.draw.values import statistics
from tinygrad7.op import PICKED, REGISTRY

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    'a"b\n',
    "'; alert(1); '",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "{{DATA}}",
    "{{SCRIPT}}",
    "\u2028\u2029",
    "\x00\x07",
    "\ud800",
    "\\u003c/script>",
]


class _Parts(HTMLParser):
    """Elements of a page, with the text of its scripts and titles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def entries(events: list[Any], phase: str) -> int:
    """How many entries the events of one phase say that they play."""
    return sum(e["n"] for e in events if e["d"] == phase)


@pytest.mark.parametrize("name", list(drawn.GOLDEN))
def test_every_entry_is_played_once_forward_and_once_backward(name: str) -> None:
    make, options = drawn.GOLDEN[name]
    y = make()
    data = data_of(page(y, fold=False, **options))
    tape = tg.Tape(y).expand() if options else tg.Tape(y)
    forward, backward = data["events"][: data["forward"]], data["events"][data["forward"] :]
    assert {e["d"] for e in forward} == {"f"}
    assert backward[0]["d"] == "s"
    assert {e["d"] for e in backward[1:]} == {"b"}
    assert entries(forward, "f") == entries(backward, "b") == len(tape)
    order = [e["e"][0] for e in forward]
    assert order == sorted(order)
    back = [e["e"][0] for e in backward[1:]]
    assert back == sorted(back, reverse=True)


@pytest.mark.parametrize("name", list(drawn.GOLDEN))
def test_the_page_is_whole_and_asks_for_nothing(name: str) -> None:
    make, options = drawn.GOLDEN[name]
    text = page(make(), **options)
    parts, data = _Parts(text), data_of(text)
    assert len(parts.of_class("box")) == len(data["boxes"])
    assert len(parts.of_class("edge")) == len(data["edges"])
    assert len(parts.of_class("cluster")) == len(data["clusters"])
    ids = [attrs["id"] for _, attrs in parts.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _, attrs in parts.tags:
        assert not {"src", "srcset", "xlink:href"} & set(attrs)
        assert (attrs.get("href") or "#").startswith("#")
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    for e in data["events"]:
        assert all(0 <= b < len(data["boxes"]) for b in e["b"])
        assert all(0 <= i < len(data["edges"]) for i in e.get("i", []))


def test_an_event_says_the_op_its_rule_its_inputs_and_its_value() -> None:
    events = data_of(page(drawn.diamond()))["events"]
    by_title = {(e["d"], e["t"]): e for e in events}
    forward, backward = by_title["f", "exp"], by_title["b", "exp"]
    assert forward["f"] == "y = eˣ"
    assert forward["r"] == ["x̄ = ȳ y"]
    assert forward["rows"] == [["x", "x", "2", "%0"]]
    assert forward["out"][0][1] == "7.389"
    assert backward["out"][0][1] == statistics(np.float64(np.sin(np.float32(2))))
    (row,) = backward["rows"]
    assert row[1] == "x̄"
    assert row[2] == statistics(np.float32(np.sin(2) * np.exp(2)))
    assert row[3] == "2 of 2"
    final = by_title["b", "x"]
    assert final["leaf"]
    assert final["out"][0][1] == statistics(np.float32(np.exp(2) * (np.sin(2) + np.cos(2))))


@pytest.mark.parametrize("seed", range(25))
def test_bars_and_summands_are_those_of_backward(seed: int) -> None:
    y = drawn.random_recurrent(seed)
    tape = tg.Tape(y)
    played = Replay(tape, set(range(len(tape))))
    for mine, theirs in zip(played.bars, tape.cotangents(), strict=True):
        if theirs is None:
            assert mine is None
        elif isinstance(theirs, tuple):
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-12, atol=1e-15)
        else:
            np.testing.assert_allclose(to_numpy(mine), to_numpy(theirs), rtol=1e-12, atol=1e-15)
    uses: dict[int, int] = {}
    for node in tape.nodes:
        for parent in node.parents:
            if getattr(node, "plan", None) is not PICKED:
                uses[tape.place[parent]] = uses.get(tape.place[parent], 0) + 1
    for place, parts in played.arriving.items():
        assert [p.arrived for p in parts] == list(range(1, uses[place] + 1))
        assert {p.of for p in parts} == {uses[place]}
        assert parts[-1].total == statistics(played.bars[place])


def test_the_sums_of_a_shared_weight_end_at_its_gradient() -> None:
    y = drawn.tanh_rnn(4)
    data = data_of(page(y, fold=False))
    y.backward()
    leaves = {n.name: n for n in tg.Tape(y).nodes if getattr(n, "name", None)}
    assert [row["n"] for row in data["grads"]] == ["u", "w", "b", "v"]
    for row in data["grads"]:
        assert row["of"] == 4
        assert [t[1] for t in row["ticks"]] == [1, 1, 1, 1]
        assert row["ticks"][-1][3] == statistics(leaves[row["n"]].grad)
        assert row["ticks"] == sorted(row["ticks"])


def test_a_weight_transposed_once_before_the_loop_shows_the_summands_behind() -> None:
    w = tg.tensor(np.eye(3), requires_grad=True, name="w")
    wt, h = w.T, tg.tensor(np.ones((1, 3)))
    for t in range(4):
        with tg.step(t):
            h = tg.tanh(h @ wt)
    (row,) = data_of(page(tg.sum(h)))["grads"]
    assert (row["n"], row["via"], row["of"]) == ("w", "transpose", 4)


def test_playing_leaves_the_tape_as_it_was_and_needs_no_saved_arrays() -> None:
    y = drawn.tanh_rnn()
    before = page(y)
    y.backward()  # drops what was saved
    assert page(y) == before
    y = drawn.mlp()
    page(y)
    y.backward()


def test_folds_are_played_in_one_step_and_counted() -> None:
    data = data_of(page(drawn.tanh_rnn(120)))
    assert len(data["boxes"]) < 100
    assert "folded" in " ".join(data["notes"])
    forward = data["events"][: data["forward"]]
    assert entries(forward, "f") == len(tg.Tape(drawn.tanh_rnn(120)))
    fold = [e for e in forward if "folded" in e.get("h", "")]
    assert len(fold) == 1
    assert sum(t[1] for t in data["grads"][0]["ticks"]) == 120


def test_what_does_not_fold_has_a_budget_that_is_told() -> None:
    x = y = tg.tensor(0.5, requires_grad=True, name="x")
    rng = np.random.default_rng(0)
    ops = (tg.sin, tg.tanh, tg.cos)
    for k in rng.integers(0, 3, 2 * EVENTS):
        y = ops[k](y)
    data = data_of(page(y))
    assert data["forward"] <= EVENTS
    assert entries(data["events"], "f") == len(tg.Tape(y))
    assert "in one step" in " ".join(data["notes"])
    y.backward()
    assert data["grads"][0]["ticks"][-1][3] == statistics(x.grad)


def test_too_many_boxes_become_modules() -> None:
    class Chain(tg.nn.Module):
        def forward(self, x: Any) -> Any:
            for k in np.random.default_rng(0).integers(0, 3, BOXES + 1):
                x = (tg.sin, tg.tanh, tg.cos)[k](x)
            return x

    data = data_of(page(Chain()(tg.tensor(0.5, requires_grad=True, name="x"))))
    assert len(data["boxes"]) == 1
    assert "module" in " ".join(data["notes"])
    assert data["forward"] == BOXES + 2


def test_many_weights_are_counted_beyond_the_list() -> None:
    leaves = [tg.tensor(1.0 + k, requires_grad=True, name=f"w{k}") for k in range(GRADIENTS + 3)]
    y = leaves[0] * leaves[0]
    for leaf in leaves[1:]:
        y = y * leaf
    data = data_of(page(y, fold=False))
    assert len(data["grads"]) == GRADIENTS
    assert data["grads"][0]["n"] == "w0"
    assert "3 more weights" in " ".join(data["notes"])


def test_a_result_that_is_no_scalar_is_played_forward_only() -> None:
    x = tg.tensor(np.ones(3), requires_grad=True, name="x")
    data = data_of(page(x * 2.0))
    assert len(data["events"]) == data["forward"]
    assert "scalar" in " ".join(data["notes"])
    both = data_of(page(tg.Tape([tg.sum(x), tg.sum(x * x)])))
    assert len(both["events"]) == both["forward"]


def test_values_that_are_not_finite_are_played() -> None:
    x = tg.tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        data = data_of(page(tg.sum(tg.log(x)) * np.inf))
    assert data["events"]


@pytest.mark.parametrize("outputs", [lambda x: tg.unstack(x)[1].sum(), lambda x: tg.unstack(x)[0] @ tg.unstack(x)[2]])
def test_ops_of_several_outputs_are_played_with_their_outputs(outputs: Any) -> None:
    x = tg.tensor(np.arange(9.0).reshape(3, 3), requires_grad=True, name="x")
    data = data_of(page(outputs(x)))
    unstack = [e for e in data["events"] if e["t"] == "unstack"]
    assert {e["d"] for e in unstack} == {"f", "b"}
    assert unstack[0]["out"]


def test_a_constant_and_a_stale_tape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="constant"):
        save_player(tg.tensor(1.0), tmp_path / "p.html")
    x = tg.tensor(2.0, requires_grad=True, name="x")
    y = x * x
    x.assign(3.0)
    with pytest.raises(RuntimeError, match="'?x'?"):
        save_player(y, tmp_path / "p.html")


def test_draw_writes_the_player_where_the_path_ends_in_html(tmp_path: Path) -> None:
    pytest.importorskip("graphviz")
    graph = tg.draw(drawn.diamond(), path=tmp_path / "player.HTML")
    assert "digraph" in graph.source
    assert (tmp_path / "player.HTML").read_text(encoding="utf-8") == page(drawn.diamond())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_a_name(name: str) -> None:
    w = tg.tensor(np.ones(2), requires_grad=True, name=name)
    with tg.scope(name):
        y = tg.sum(w * w)
    text = page(y)
    text.encode("utf-8")
    parts, plain = _Parts(text), _Parts(page(tg.sum(w.detach() * tg.tensor(np.ones(2), requires_grad=True))))
    assert [t for t, _ in parts.tags].count("script") == 2
    assert {t for t, _ in parts.tags} <= {t for t, _ in plain.tags} | {"g", "rect", "text", "title"}
    assert not any(key.startswith("on") for _, attrs in parts.tags for key in attrs)
    data = data_of(text)
    shown = re.sub("[\x00\x07\ud800]", "\ufffd", name)
    assert json.loads(json.dumps(data["grads"][0]["n"])) in (shown, name)
    assert "alert" not in "".join(parts.texts["style"])
    label = next(attrs["aria-label"] for _, attrs in parts.tags if attrs.get("id") == "c0")
    assert label is not None
    assert label.replace(" ", "") == re.sub(r"[\n\r\t]", "", shown).replace(" ", "").replace("\ufffd", "\ufffd")


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_of_ours_tells_its_rule(name: str) -> None:
    op = REGISTRY[name]
    if not op.module.startswith("tinygrad7."):
        return
    forward, rules, words = formulas(op)
    assert rules, op.doc
    assert all("=" in rule for rule in rules)
    assert words
    assert "=" in forward or name in ("sign", "sum_to")


def test_an_op_without_a_docstring_has_no_formula() -> None:
    class Bare:
        doc = ""

    assert formulas(Bare()) == ("", [], "")  # type: ignore[arg-type]
