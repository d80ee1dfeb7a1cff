"""Drawings: golden DOT text, what options show, how names are escaped, who renders, and how fast."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tinygrad7 as tg
from tests.drawn import (
    GOLDEN,
    bidirectional,
    diamond,
    leaf,
    look,
    lstm,
    mlp,
    rendered,
    residual_stack,
    tanh_rnn,
    truncated,
    two_layers,
)
from tinygrad7.draw import RendererError, compose, draw, render
from tinygrad7.draw.dot import clean, quote

FOLDER = Path(__file__).parent / "data" / "golden"
BAR = "\u0304"

pytestmark = pytest.mark.host  # drawings read shapes and statistics; where the data lived makes no difference


# ---- golden files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    """The DOT text of eight graphs; ``python -m tests.test_draw`` writes them anew, for a person to look at."""
    make, options = GOLDEN[name]
    assert draw(make(), fold=False, **options).source == (FOLDER / f"{name}.dot").read_text(encoding="utf-8")


def write_golden() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (make, options) in GOLDEN.items():
        (FOLDER / f"{name}.dot").write_text(draw(make(), fold=False, **options).source, encoding="utf-8")


# ---- the time axis -------------------------------------------------------------------------------------------------


def kinds(drawing: Any, kind: str) -> list[Any]:
    return [box for box in drawing.picture.boxes if box.kind == kind]


def test_steps_are_columns_and_the_state_runs_along_a_row() -> None:
    seen = look(tanh_rnn(), fold=False)
    titles = [c.title for c in seen.drawing.clusters]
    assert titles == ["t = 0", "t = 1", "t = 2"]
    assert all(f"<B>{title}</B>" in seen.source for title in titles)
    hidden = [
        e for e in seen.drawing.picture.edges if e.src.op == "tanh" and e.dst.op == "@" and e.dst.column != e.src.column
    ]
    assert len(hidden) == 2
    for edge in hidden:
        assert len({round(y, 3) for _, y in edge.points}) == 1  # a straight, level line
        assert seen.of(edge.src)[0] < seen.of(edge.dst)[0]


def test_shared_parameters_stand_once_outside_the_columns_with_their_uses() -> None:
    seen = look(tanh_rnn(), fold=False)
    parameters = kinds(seen.drawing, "parameter")
    assert [p.label for p in parameters] == ["u", "w", "b", "v"]
    left = min(c.box[0] for c in seen.drawing.clusters)
    for p in parameters:
        x, _, w, _ = seen.of(p)
        assert x + w / 2 < left and p.uses == 3 and len([e for e in seen.drawing.picture.edges if e.src is p]) == 3
        assert f"×{p.uses}" in seen.source
    inputs = [box for box in kinds(seen.drawing, "input") if box.label.startswith("x")]
    bottom = min(c.box[1] for c in seen.drawing.clusters)
    assert len(inputs) == 3 and all(seen.of(box)[1] < bottom for box in inputs)


def test_losses_leave_above() -> None:
    seen = look(tanh_rnn(), fold=False)
    for column in range(3):
        ops = {
            box.op: seen.of(box)[1] for box in seen.drawing.picture.boxes if box.column == column and box.kind == "op"
        }
        assert ops["tanh"] < ops["sum"]


def test_layers_stand_above_each_other_and_share_their_columns() -> None:
    drawing = compose(two_layers(), expand=True, fold=False)
    assert len(drawing.picture.columns) == 3 and len(drawing.picture.bands) == 2
    low, high = ([b.y for b in drawing.picture.boxes if b.band == k and b.op == "tanh"] for k in (0, 1))
    assert max(low) < min(high)


def test_the_other_direction_runs_to_the_left() -> None:
    drawing = compose(bidirectional(), expand=True, fold=False)
    forward, backward = drawing.picture.bands
    assert not forward.reverse and backward.reverse and len(drawing.picture.columns) == 3
    for edge in drawing.picture.edges:
        if edge.src.zone == edge.dst.zone == "step" and edge.src.column != edge.dst.column:
            assert (edge.dst.x < edge.src.x) == (edge.src.band == 1)


def test_memory_and_state_run_straight_past_everything_else() -> None:
    """The two rows of an LSTM stay free from end to end, whatever else a step computes above them."""
    rng = np.random.default_rng(0)
    w, v = leaf(rng, 4, 16, name="W"), leaf(rng, 4, 2, name="V")
    h = c = tg.tensor(np.ones((1, 4)))
    loss: Any = 0.0
    for t in range(3):
        with tg.step(t):
            i, f, o, g = tg.split(h @ w, 4, axis=-1)
            c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
            h = tg.sigmoid(o) * tg.tanh(c)
            y = tg.tanh(h @ v) * 2.0
            loss = loss + tg.sum(y * y)
    drawing = compose(loss, fold=False)
    carried = [e for e in drawing.picture.edges if e.src.zone == e.dst.zone == "step" and e.src.column != e.dst.column]
    assert len(carried) == 6  # h, c and the running loss, twice
    assert all(len({round(y, 2) for _, y in e.points}) == 1 for e in carried)


def test_a_decoder_stands_after_its_encoder() -> None:
    w = tg.tensor(np.eye(2), requires_grad=True, name="w")
    h = tg.tensor(np.ones((1, 2)))
    for part in ("encoder", "decoder"):
        with tg.scope(part):
            for t in range(3):
                with tg.step(t):
                    h = tg.tanh(h @ w)
    drawing = compose(tg.sum(h), fold=False)
    assert [(c.group, c.index) for c in drawing.picture.columns] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert len({box.y for box in drawing.picture.boxes if box.op == "tanh"}) == 1


def test_a_residual_stack_is_a_straight_line_with_side_branches() -> None:
    drawing = compose(residual_stack(4), fold=False)
    line = [box for box in drawing.picture.boxes if box.op == "+" or box.label == "x" or box.op == "sum"]
    assert len(line) == 6 and len({box.y for box in line}) == 1
    assert all(box.y < line[0].y for box in drawing.picture.boxes if box.op == "tanh")


def test_time_can_run_down() -> None:
    seen = look(tanh_rnn(), time="TB", fold=False)
    states = [seen.of(box) for box in seen.drawing.picture.boxes if box.op == "tanh"]
    assert len({round(x, 1) for x, *_ in states}) == 1
    assert states[0][1] > states[1][1] > states[2][1]


def test_truncation_is_drawn_where_it_cuts() -> None:
    seen = look(truncated(), fold=False)
    (cut,) = kinds(seen.drawing, "cut")
    (arriving,) = [e for e in seen.drawing.picture.edges if e.dst is cut]
    (leaving,) = [e for e in seen.drawing.picture.edges if e.src is cut]
    assert arriving.cut and arriving.src.op == "tanh" and arriving.src.column == 1 and leaving.dst.column == 2
    assert arriving.src.y == cut.y == leaving.dst.y and arriving.src.x < cut.x < leaving.dst.x
    assert "✂" in seen.source and "style=dashed" in seen.source


def test_a_cut_whose_source_is_gone_says_where_it_was() -> None:
    x = tg.tensor(1.0, requires_grad=True, name="x")
    with tg.step(4):
        h = tg.tanh(x)
    (cut,) = kinds(compose(h.detach() * x), "cut")
    assert cut.note == "tanh t=4"


def test_an_anomaly_is_red() -> None:
    x = tg.tensor(np.array([0.0, 1.0]), requires_grad=True, name="x")
    with pytest.raises(tg.AnomalyError) as caught, tg.detect_anomaly(), np.errstate(all="ignore"):
        tg.log(x * 1.0)
    drawing = compose(caught.value.output)
    assert [box.op for box in drawing.picture.boxes if box.bad] == ["log"]
    assert draw(caught.value.output).source.count('color="#c0281a"') == 1


# ---- levels, folding, references -----------------------------------------------------------------------------------


def test_modules_as_boxes() -> None:
    drawing = compose(mlp(), level="module")
    boxes = kinds(drawing, "module")
    assert [b.label for b in boxes] == ["[0] Linear(3 → 4)", "[1] Tanh()", "[2] Linear(4 → 2)"]
    assert [b.note.split("\n") for b in boxes] == [["→ 5×4", "16 parameters"], ["→ 5×4"], ["→ 5×2", "10 parameters"]]
    assert [c.title for c in drawing.clusters] == ["Sequential()   26 parameters"]


def test_steps_as_boxes() -> None:
    drawing = compose(tanh_rnn(4), level="step", fold=False)
    assert [b.label for b in kinds(drawing, "step")] == [f"t = {t}" for t in range(4)]
    assert len({b.y for b in kinds(drawing, "step")}) == 1


def test_a_fused_op_is_one_box_or_its_reference() -> None:
    y = lstm(3)
    assert [b.op for b in compose(y).picture.boxes].count("LSTM") == 1
    expanded = compose(y, expand=True, fold=False)
    assert not [b for b in expanded.picture.boxes if b.op == "LSTM"]
    assert len(expanded.picture.columns) == 3


def test_a_long_net_looks_like_a_short_one_but_for_the_count() -> None:
    short, long = (draw(lstm(steps), expand=True).source for steps in (10, 1000))  # T × 1 × 4 stands in one box
    assert "×6 ⋯" in short and "×996 ⋯" in long

    def shape(source: str) -> list[str]:
        return re.findall(r'pos="[^"]*"|bb="[^"]*"', source)

    assert shape(short) == shape(long)


def test_fold_budget() -> None:
    y = tanh_rnn(12)
    assert not kinds(compose(y, fold=False), "fold") and not kinds(compose(y, fold=1000), "fold")
    assert kinds(compose(y), "fold") and kinds(compose(y, fold=20), "fold")
    assert not kinds(compose(tanh_rnn(5), fold=1), "fold")  # two at either end: nothing is left to fold


def test_steps_that_differ_are_not_folded_together() -> None:
    w = tg.tensor(0.5, requires_grad=True, name="w")
    h: Any = tg.tensor(1.0)
    for t in range(20):
        with tg.step(t):
            h = tg.tanh(h * w) if t != 9 else tg.sin(h * w)
    drawing = compose(h, fold=5)
    assert [f.label for f in kinds(drawing, "fold")] == ["⋯ ×6 ⋯", "⋯ ×6 ⋯"]
    assert "sin" in [b.op for b in drawing.picture.boxes]


def test_blocks_alike_fold() -> None:
    (fold,) = kinds(compose(residual_stack(20)), "fold")
    assert fold.label == "⋯ ×16 ⋯" and fold.note == f"{16 * 7} nodes folded"


# ---- values, bars, passes ------------------------------------------------------------------------------------------


def test_values_and_bars() -> None:
    y = tanh_rnn(2)
    drawing = compose(y, values=True, gradients=True)
    root = next(b for b in drawing.picture.boxes if b.root)
    assert root.lines == [f"= {y.item():.4g}", f"L{BAR} = 1"]
    states = [b for b in drawing.picture.boxes if b.op == "tanh"]
    for t, box in enumerate(states):
        assert re.fullmatch(r"\[−?[\d.]+, −?[\d.]+\]  μ −?[\d.e−]+", box.lines[0])
        assert box.lines[1].startswith(f"‖h{BAR}({t})‖ = ")
        assert 1 < len(box.strip) <= 9
    weight = next(b for b in drawing.picture.boxes if b.label == "w")
    assert weight.lines[1].startswith(f"‖w{BAR}‖")
    tape = tg.Tape(y)
    for node, bar in zip(tape.nodes, tape.cotangents(), strict=True):
        assert drawing.picture.box_of[node].norm == pytest.approx(float(np.linalg.norm(np.asarray(bar))))


def test_the_memory_of_an_lstm_is_called_c() -> None:
    lines = [line for b in compose(lstm(3), expand=True, gradients=True, fold=False).picture.boxes for line in b.lines]
    assert any(f"h{BAR}(1)" in line for line in lines) and any(f"c{BAR}(1)" in line for line in lines)


def _deep(weight: float) -> Any:
    w = tg.tensor(weight, requires_grad=True, name="w", dtype="float64")
    h = tg.tensor(1e-3, requires_grad=True, name="h(0)", dtype="float64")
    for t in range(12):
        with tg.step(t):
            h = h * w
    return h


@pytest.mark.parametrize(("weight", "grows"), [(0.3, False), (3.0, True)])
def test_vanishing_and_exploding_show(weight: float, grows: bool) -> None:
    """The widths of the state's edges tell the lecture's w^(T−1): thinner or thicker towards the first step."""
    source = draw(_deep(weight), gradients=True, fold=False).source
    drawing = compose(_deep(weight), gradients=True, fold=False)
    first, last = (drawing.picture.scale.style(drawing.picture.boxes[k].norm) for k in (2, -2))
    assert (first[1] > last[1] * 1.5) == grows and (first[1] < last[1] / 1.5) != grows
    assert first[0] != last[0] and "gradient norm" in source


def test_backward_arrows_run_against_the_forward_ones() -> None:
    plain, both = draw(diamond()).source, draw(diamond(), backward=True).source

    def arrows(source: str) -> list[tuple[str, str]]:
        return re.findall(r"(n\d+) -> (n\d+) ", source)

    forward = arrows(plain)
    assert sorted(arrows(both)) == sorted(forward + [(b, a) for a, b in forward])
    assert both.count("class=backward") == len(forward)
    rendered(both)


def test_the_two_passes_of_a_recorded_gradient_are_told_apart() -> None:
    x = tg.tensor(0.7, requires_grad=True, name="x")
    h = tg.tensor(0.5)
    for t in range(3):
        with tg.step(t):
            h = tg.tanh(h * x)
    (g,) = tg.gradients(h, [x], create_graph=True)
    seen = look(g, fold=False)
    made = {box.op for box in seen.drawing.picture.boxes if box.gradient}
    assert "∂×" in made and "tanh" not in made
    forward, backward = seen.drawing.picture.bands
    assert not forward.reverse and backward.reverse
    assert {c.title for c in seen.drawing.clusters} == {f"t = {t}{s}" for t in range(3) for s in ("", "  backward")}
    assert "recorded backward pass" in seen.source


# ---- text from users -----------------------------------------------------------------------------------------------

NASTY = [
    "<script>alert(1)</script>",
    'a"b\n',
    "a\\",
    "a\\nb",
    "&amp;",
    "\x00\x1f\ufffe",
    "{|}",
    "]]>",
    "h̄",
    "日本語",
    "<b",
    "",
]


def texts(svg: bytes) -> str:
    return "".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("name", NASTY)
def test_names_are_only_names(name: str) -> None:
    x = tg.tensor(np.ones(2), requires_grad=True, name=name)
    with tg.scope(name):
        y = tg.sum(x * x)
    source = draw(y, values=True, gradients=True).source
    svg = render.render(source, "svg")
    assert "<script" not in svg.decode()
    shown = re.sub(r"[\n\r\t]", " ", clean(name)).strip()
    assert shown.replace(" ", "") in texts(svg).replace("\xa0", "").replace(" ", "")
    assert "\ufffd" in source if name.startswith("\x00") else "\ufffd" not in source


@hypothesis.given(st.text(max_size=12))
@hypothesis.settings(max_examples=25)
def test_any_name_parses(name: str) -> None:
    x = tg.tensor(1.0, requires_grad=True, name=name)
    with tg.scope(name):
        rendered(draw(tg.exp(x)).source)


def test_quoting() -> None:
    assert quote('a"b\n\\') == '"a\\"b\\n\\\\"'
    assert clean("a\x00b\ud800") == "a\ufffdb\ufffd"


# ---- files and renderers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("gv", b"digraph")]
)
def test_files_by_ending(tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"graph.{ending}"
    graph = draw(diamond(), path=path)
    assert path.read_bytes().startswith(start)
    assert type(graph).__name__ == "Digraph" and graph.source.startswith("digraph")


def test_an_ending_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of \.svg, \.png"):
        draw(diamond(), path=tmp_path / "graph.bmp")


@pytest.mark.parametrize(
    ("option", "message"),
    [({"level": "layer"}, "level must be"), ({"time": "RL"}, "time must be"), ({"fold": "never"}, "fold must be")],
)
def test_options_that_do_not_exist(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(diamond(), **option)


def test_something_that_is_no_tensor() -> None:
    with pytest.raises(TypeError, match=r"draw: a tensor or a Tape is needed, this is a float"):
        draw(1.0)


def _only(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    pure = Path(sys.executable).with_name("graphviz-pure")
    which = {"graphviz-pure": str(pure)} if found == "pure" else {}
    monkeypatch.setenv("PATH", "/nowhere")  # the graphviz package looks for itself
    monkeypatch.setattr(render.shutil, "which", lambda name: which.get(name))
    if found is None:
        monkeypatch.setattr(render.sys, "executable", "/nowhere/python")


def test_without_dot_the_installed_port_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _only(monkeypatch, "pure")
    graph = draw(diamond(), path=tmp_path / "graph.svg")
    assert "exp" in texts((tmp_path / "graph.svg").read_bytes())
    assert "exp" in texts(graph.pipe("svg")) and "exp" in graph._repr_image_svg_xml()
    assert Path(graph.render(tmp_path / "again", format="png", cleanup=True)).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RendererError, match="pdf needs Graphviz itself"):
        draw(diamond(), path=tmp_path / "graph.pdf")


def test_without_any_renderer_the_text_still_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _only(monkeypatch, None)
    graph = draw(diamond(), path=tmp_path / "graph.dot")
    assert graph.source == (tmp_path / "graph.dot").read_text()
    with pytest.raises(RendererError, match=r"pip install 'tinygrad7\[draw\]' brings graphviz-pure"):
        draw(diamond(), path=tmp_path / "graph.svg")


def test_a_renderer_that_fails_is_quoted() -> None:
    with pytest.raises(RendererError, match=r"failed: .*syntax error"):
        render.render("digraph {", "svg")


def test_without_the_graphviz_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad7\[draw\]'"):
        draw(diamond())


def test_importing_drawings_imports_no_graphviz() -> None:
    code = "import sys, tinygrad7.draw; sys.exit('graphviz' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


# ---- size ----------------------------------------------------------------------------------------------------------


def test_nothing_recurses() -> None:
    y = tg.tensor(1.0, requires_grad=True, name="x")
    for k in range(3000):
        with tg.scope("deep"):
            y = tg.tanh(y) if k % 2 else y * 0.5
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        drawing = compose(y, fold=False)
    finally:
        sys.setrecursionlimit(limit)
    assert len(drawing.picture.boxes) == 3001


def test_the_text_grows_with_the_tape_and_not_faster() -> None:
    """Twice the steps take about twice the time; the limits proper are held by the benchmark."""
    small, large = tanh_rnn(150), tanh_rnn(300)
    ratios = []
    for _ in range(5):
        times = []
        for y in (small, large):
            begun = time.perf_counter()
            draw(y, fold=False)
            times.append(time.perf_counter() - begun)
        ratios.append(times[1] / times[0])
    assert sorted(ratios)[2] < 3


def test_a_constant_alone_can_be_drawn() -> None:
    assert [b.label for b in compose(tg.tensor(2.5)).picture.boxes] == ["2.5"]


def test_parallel_edges_stay_two() -> None:
    x = leaf(np.random.default_rng(0), 2, name="x")
    drawing = compose(tg.sum(x * x))
    product = next(b for b in drawing.picture.boxes if b.op == "×")
    pair = [e for e in drawing.picture.edges if e.dst is product]
    assert len(pair) == 2 and pair[0].points != pair[1].points


if __name__ == "__main__":
    write_golden()
