"""What every drawing keeps, held against random programs and against the coordinates that Graphviz really drew."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tinygrad7 as tg
from tests.drawn import GOLDEN, Seen, look, op_nodes, random_recurrent, tanh_rnn, tape_edges
from tinygrad7.testing.strategies import programs

SEEDS = st.integers(0, 10**6)


def check_entries(y: Any, seen: Seen) -> None:
    """Every entry of the tape is in exactly one box, and folds say how many boxes they stand for."""
    nodes = [node for box in seen.drawing.picture.boxes for node in box.nodes if not hasattr(node, "_value")]
    assert sorted(map(id, nodes)) == sorted(map(id, op_nodes(y)))
    drawn = {item["name"] for item in seen.json["objects"] if item["name"].startswith("n")}
    assert {f"n{box.number}" for box in seen.drawing.picture.boxes} <= drawn


def check_edges(y: Any, seen: Seen) -> None:
    """The edges drawn are the tape's, with their multiplicity."""
    found: dict[Any, int] = {}
    box_of = {f"n{box.number}": box for box in seen.drawing.picture.boxes}
    names = {item["_gvid"]: item["name"] for item in seen.json["objects"]}
    for edge in seen.json.get("edges", []):
        a, b = box_of[names[edge["tail"]]], box_of[names[edge["head"]]]
        if a.kind not in ("input", "cut") and b.kind != "cut":
            found[a.nodes[0], b.nodes[0]] = found.get((a.nodes[0], b.nodes[0]), 0) + 1
    assert found == tape_edges(y)


def check_folded_edges(y: Any, seen: Seen) -> None:
    """What crosses a fold is what crosses it on the tape: contracted, with counts."""
    box_of = {node: box for box in seen.drawing.picture.boxes for node in box.nodes}
    expected: dict[Any, int] = {}
    for (a, b), count in tape_edges(y).items():
        if box_of[a] is not box_of[b]:
            pair = box_of[a], box_of[b]
            expected[pair] = expected.get(pair, 0) + count
    found: dict[Any, int] = {}
    for edge in seen.drawing.picture.edges:
        if edge.src.kind not in ("input", "cut") and not edge.cut:
            found[edge.src, edge.dst] = found.get((edge.src, edge.dst), 0) + edge.count
    assert found == expected


def check_places(seen: Seen) -> None:
    """No two boxes overlap; steps stand in order of time; the same op of every step stands on the same row."""
    boxes = seen.drawing.picture.boxes
    spans = []
    for box in boxes:
        x, y, w, h = seen.of(box)
        spans.append((x - w / 2, x + w / 2, y - h / 2, y + h / 2, box))
    spans.sort(key=lambda s: s[0])
    for i, (_, right, low, top, a) in enumerate(spans):
        for left, _, low2, top2, b in itertools.islice(spans, i + 1, None):
            if left >= right - 0.5:
                break
            assert top2 <= low + 0.5 or low2 >= top - 0.5, f"{a.label} and {b.label} overlap"
    down = not seen.drawing.flat
    for band in seen.drawing.picture.bands:
        for role in band.roles.values():
            rows = [seen.of(box)[0 if down else 1] for box in role.boxes.values()]
            assert max(rows) - min(rows) < 0.5, f"{role.op} does not keep its row"
    reach: dict[int, list[float]] = {}
    for box in boxes:
        if box.zone in ("step", "fold"):
            x, y, w, h = seen.of(box)
            low, high = (-y - h / 2, -y + h / 2) if down else (x - w / 2, x + w / 2)
            span = reach.setdefault(box.column, [low, high])
            span[0], span[1] = min(span[0], low), max(span[1], high)
    ordered = [reach[k] for k in sorted(reach)]
    assert all(a[1] <= b[0] + 0.5 for a, b in itertools.pairwise(ordered))


def check_ways(seen: Seen) -> None:
    """No edge runs through a box that it neither leaves nor enters."""
    spans = [
        (b, b.x - b.w / 2 + 1.5, b.x + b.w / 2 - 1.5, b.y - b.h / 2 + 1.5, b.y + b.h / 2 - 1.5)
        for b in seen.drawing.picture.boxes
    ]
    for edge in seen.drawing.picture.edges:
        points = curve_points(edge.points)
        for box, left, right, low, top in spans:
            if box in (edge.src, edge.dst):
                continue
            inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > low) & (points[:, 1] < top)
            assert not inside.any(), f"{edge.src.label} → {edge.dst.label} runs through {box.label}"


def curve_points(points: Any, per: int = 12) -> np.ndarray:
    p = np.array(points[:-1])
    s = np.linspace(0, 1, per)[:, None]
    found = []
    for k in range(0, len(p) - 1, 3):
        a, b, c, d = p[k : k + 4]
        found.append((1 - s) ** 3 * a + 3 * (1 - s) ** 2 * s * b + 3 * (1 - s) * s**2 * c + s**3 * d)
    return np.concatenate(found)


@pytest.mark.parametrize("time", ["LR", "TB"])
@pytest.mark.parametrize("name", GOLDEN)
def test_known_graphs(name: str, time: str) -> None:
    make, options = GOLDEN[name]
    y = make()
    seen = look(y, **options, time=time, fold=False)
    check_places(seen)
    check_ways(seen)
    if not options:
        check_entries(y, seen)
        check_edges(y, seen)


@hypothesis.given(SEEDS)
@hypothesis.settings(max_examples=40)
def test_random_recurrent_programs(seed: int) -> None:
    y = random_recurrent(seed)
    seen = look(y, fold=False)
    check_entries(y, seen)
    check_edges(y, seen)
    check_places(seen)
    check_ways(seen)


@hypothesis.given(SEEDS, st.integers(0, 30), st.sampled_from(["LR", "TB"]))
@hypothesis.settings(max_examples=20)
def test_random_folds(seed: int, budget: int, time: str) -> None:
    y = random_recurrent(seed)
    seen = look(y, fold=budget, time=time)
    check_entries(y, seen)
    check_folded_edges(y, seen)
    check_places(seen)


@hypothesis.given(programs())
@hypothesis.settings(max_examples=25)
def test_random_programs(program: Any) -> None:
    outputs = [y for y in program(*[tg.tensor(x, requires_grad=True) for x in program.inputs]) if y.requires_grad]
    if not outputs:
        return
    y = tg.sum(outputs[0])
    seen = look(y, fold=False)
    check_entries(y, seen)
    check_edges(y, seen)
    check_places(seen)


@pytest.mark.parametrize("level", ["module", "step"])
@hypothesis.given(SEEDS)
@hypothesis.settings(max_examples=10)
def test_levels_keep_every_entry(level: str, seed: int) -> None:
    y = random_recurrent(seed)
    seen = look(y, level=level, fold=False)
    check_entries(y, seen)
    check_places(seen)


@pytest.mark.parametrize("steps", [6, 9, 40])
def test_a_fold_counts_what_it_hides(steps: int) -> None:
    y = tanh_rnn(steps)
    whole, folded = look(y, fold=False), look(y, fold=10)
    check_entries(y, folded)
    check_folded_edges(y, folded)
    fold = next(box for box in folded.drawing.picture.boxes if box.kind == "fold")
    assert f"×{steps - 4}" in fold.label
    hidden = len(whole.drawing.picture.boxes) - len(folded.drawing.picture.boxes) + 1
    assert fold.note == f"{hidden} nodes folded"
    crossing = [e for e in folded.drawing.picture.edges if fold in (e.src, e.dst)]
    rows = {(e.src.op, e.src.Y) for e in crossing if e.dst is fold and e.src.zone == "step"}
    assert {op for op, _ in rows} == {"tanh", "+"}  # the state and the running loss, each on its own row
    for edge in crossing:
        if edge.dst is fold and edge.src.zone == "step":
            assert abs(edge.points[0][1] - edge.points[-1][1]) < 0.01


def test_a_fold_holds_every_output_of_what_it_hides() -> None:
    w = tg.tensor(np.ones(2), requires_grad=True, name="w")
    h: Any = tg.tensor(np.ones(2))
    for t in range(9):
        with tg.step(t):
            a, b = tg.unstack(h * w)
            h = tg.stack([b, a])
    seen = look(h, fold=5)
    assert any(box.kind == "fold" for box in seen.drawing.picture.boxes)
    check_entries(h, seen)
    check_folded_edges(h, seen)
