"""Modules: parts by attribute, names, sharing, state, modes, places, repr, scopes."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
from collections import deque
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import nn
from tinygrad7.messages import ShapeError


class Net(nn.Module):
    """Parts of every kind: a parameter, a buffer, a child, a list, a tuple and a dict."""

    def __init__(self) -> None:
        self.scale = nn.Parameter([1.0, 2.0])
        self.count = nn.Buffer([0.0])
        self.first = nn.Linear(2, 3, rng=0)
        self.blocks = [nn.ResidualBlock(3, rng=1), nn.ResidualBlock(3, rng=2)]
        self.pair = (nn.Tanh(), nn.LayerNorm(3))
        self.heads = {"left": nn.Linear(3, 1, rng=3), "right": nn.Linear(3, 1, bias=False, rng=4)}

    def forward(self, x: Any) -> Any:
        h = self.first(x * self.scale)
        for block in self.blocks:
            h = block(h)
        for layer in self.pair:
            h = layer(h)
        return self.heads["left"](h) + self.heads["right"](h)


NAMES = [
    "scale", "count", "first.weight", "first.bias", "blocks.0.W1", "blocks.0.b1", "blocks.0.W2",
    "blocks.1.W1", "blocks.1.b1", "blocks.1.W2",
    "pair.1.weight", "pair.1.bias", "heads.left.weight", "heads.left.bias", "heads.right.weight",
]  # fmt: skip

# ---- parts -------------------------------------------------------------------------------------------------------


def test_parts_are_found_by_attribute_in_order() -> None:
    net = Net()
    assert list(net.state_dict()) == NAMES
    assert [name for name, _ in net.named_parameters()] == [name for name in NAMES if name != "count"]
    assert [name for name, _ in net.named_buffers()] == ["count"]
    children = ["first", "blocks.0", "blocks.1", "pair.0", "pair.1", "heads.left", "heads.right"]
    assert [name for name, _ in net.named_children()] == children
    assert [name for name, _ in net.named_modules()] == ["", *children]
    assert len(list(net.children())) == 7 and len(list(net.modules())) == 8
    assert net.parameter_count == sum(p.size for p in net.parameters()) == 2 + 9 + 2 * 21 + 6 + 4 + 3


def test_a_leaf_is_a_parameter_a_constant_and_a_result_are_not() -> None:
    net = nn.Module()
    net.w = tg.tensor([1.0], requires_grad=True)
    net.constant = tg.tensor([1.0])
    net.result = net.w * 2
    assert list(net.state_dict()) == ["w"]


def test_parts_may_be_replaced_and_removed() -> None:
    net = Net()
    net.first = nn.Linear(2, 3, bias=False, rng=0)
    del net.heads, net.blocks
    net.pair = None
    assert list(net.state_dict()) == ["scale", "count", "first.weight"]


def test_what_is_shared_counts_once_under_its_first_name() -> None:
    net = nn.Module()
    net.a = nn.Linear(3, 3, rng=0)
    net.b = net.a
    net.tied = net.a.weight
    net.again = [net.a]
    assert [name for name, _ in net.named_parameters()] == [
        "tied",
        "a.bias",
    ]  # a module's own come before its children's
    assert net.parameter_count == 12 and len(list(net.parameters())) == 2 and len(list(net.children())) == 1


def test_parts_know_their_names() -> None:
    net = Net()
    outer = nn.Module()
    outer.net = net
    assert [p.name for p in outer.parameters()] == [f"net.{name}" for name in NAMES if name != "count"]
    assert nn.Parameter([1.0], name="U").name == "U"
    given_name = nn.Module()
    given_name.w = nn.Parameter([1.0], name="U")
    outer.other = given_name
    assert given_name.w.name == "U"


def test_parts_added_to_a_list_later_are_found() -> None:
    net = Net()
    net.blocks.append(nn.ResidualBlock(3, rng=5))
    assert "blocks.2.W1" in net.state_dict()
    entries = list(tg.Tape(net(tg.ones((1, 2)))))
    assert ("Net", "blocks[2]") in {entry.scope for entry in entries}
    assert net.blocks[2].W1.name == "blocks.2.W1"


def test_a_module_that_contains_itself_says_so_and_where() -> None:
    net = Net()
    with pytest.raises(ValueError, match="Net: it contains itself, as 'me', so its parts would have no end of names"):
        net.me = net
    del net.me
    assert net.parameter_count == 66
    net.first.owner = [net.pair[0], {"whole": net}]
    for walk in (lambda: list(net.parameters()), net.eval, net.state_dict, lambda: repr(net), lambda: net.detail):
        with pytest.raises(ValueError, match=r"Net: it contains itself, as 'first\.owner\.1\.whole'"):
            walk()
    net.first.owner = None
    repr(net)
    net.blocks.append(net)
    with pytest.raises(ValueError, match=r"Net: it contains itself, as 'blocks\.2'"):
        repr(net)


@pytest.mark.parametrize("kind", [set, frozenset, deque])
def test_parts_in_what_gives_them_no_name_are_refused(kind: Any) -> None:
    net = nn.Module()
    for part in (nn.Linear(2, 2, rng=0), tg.tensor([1.0], requires_grad=True), nn.Buffer([1.0])):
        message = (
            f"Module.parts is a {kind.__name__} that holds a {type(part).__name__}; parts are found, and named, in a"
        )
        with pytest.raises(TypeError, match=message):
            net.parts = kind([1, part])
        with pytest.raises(TypeError, match=message):
            net.state_dict()
    net.parts = kind([1, "two", tg.tensor([1.0])])
    assert not net.state_dict()


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(
        NotImplementedError, match=r"Lazy has no forward: define forward\(self, x\) and call the module"
    ):
        type("Lazy", (nn.Module,), {})()(1)


@pytest.mark.parametrize("data", [[1, 2], np.array([True])])
def test_a_parameter_is_floating(data: Any) -> None:
    with pytest.raises(TypeError, match="cannot have a gradient"):
        nn.Parameter(data)


# ---- scopes ------------------------------------------------------------------------------------------------------


def test_every_op_stands_under_the_modules_that_called_it() -> None:
    net = Net()
    scopes = {entry.scope for entry in tg.Tape(net(tg.ones((1, 2)))) if entry.op != "leaf"}
    assert scopes == {
        ("Net",), ("Net", "first"), ("Net", "blocks[0]"), ("Net", "blocks[1]"), ("Net", "pair[0]"), ("Net", "pair[1]"),
        ("Net", "heads.left"), ("Net", "heads.right"),
    }  # fmt: skip


def test_layers_of_a_sequential_stand_under_kind_and_place() -> None:
    net = nn.Sequential(nn.Linear(2, 3, rng=0), tg.tanh, nn.Linear(3, 1, rng=1))
    y = net(tg.ones((1, 2)))
    assert [entry.scope for entry in tg.Tape(y) if entry.op != "leaf"] == [
        ("Sequential", "Linear[0]"), ("Sequential",), ("Sequential", "Linear[2]"),
    ]  # fmt: skip
    link = y._node.scope
    assert (link.kind, link.detail) == ("module", "Linear(3 → 1)  4")


def test_scopes_end_when_forward_raises() -> None:
    with pytest.raises(ShapeError):
        nn.Linear(2, 3, rng=0)(tg.ones((1, 5)))
    assert tg.Tape(nn.Parameter([1.0]) * 2)[-1].scope == ()


def test_a_graph_holds_no_module_and_dies_with_its_loss() -> None:
    net = Net()
    net(tg.ones((4, 2))).sum().backward()  # a device keeps what it compiles
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(3):
            net(tg.ones((4, 2))).sum().backward()
        net.zero_grad()
        assert len(gc.get_objects()) - before < 60
    finally:
        gc.enable()


# ---- state -------------------------------------------------------------------------------------------------------


def test_state_comes_back_as_it_went() -> None:
    net, other = Net(), Net()
    for t in net.state_dict():
        assert isinstance(net.state_dict()[t], np.ndarray)
    for p in net.parameters():
        p.assign(host(p) + 1)
    net.count.assign([7.0])
    other.load_state_dict(net.state_dict())
    x = tg.ones((2, 2))
    np.testing.assert_array_equal(net(x), other(x))
    assert other.count.item() == 7 and isinstance(other.count, nn.Buffer)


def test_a_state_dict_is_a_copy() -> None:
    net = nn.Linear(2, 2, rng=0)
    state = net.state_dict()
    state["weight"][...] = 9
    assert (host(net.weight) != 9).all()
    net.load_state_dict(state)
    state["weight"][...] = 1
    assert (host(net.weight) == 9).all()


def test_dtypes_are_converted_and_tensors_taken() -> None:
    net = nn.Linear(2, 2, rng=0)
    net.load_state_dict({"weight": tg.ones((2, 2), dtype="float64"), "bias": np.zeros(2, int)})
    assert net.weight.dtype == net.bias.dtype == np.float32 and net.weight.numpy().sum() == 4


def load(**changes: Any) -> None:
    net = nn.Linear(2, 3, rng=0)
    before = net.state_dict()
    state = {key: value for key, value in {**before, **changes}.items() if value is not None}
    try:
        net.load_state_dict(state)
    finally:
        np.testing.assert_array_equal(net.state_dict()["weight"], before["weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": None}, "load_state_dict of Linear, nothing was changed: missing key 'bias'"),
        ({"bais": np.ones(3)}, r"unknown key 'bais' \(is 'bias' meant\?\)"),
        ({"x": np.ones(3), "weight": np.zeros((3, 2))}, "unknown key 'x'$"),
        ({"bias": np.ones(2), "weight": np.zeros((3, 2))}, r"'bias' has shape \(2,\), the module's has \(3,\)"),
        ({"bias": np.ones(2), "weight": None, "z": 1}, "shape.*unknown key 'z'; missing key 'weight'"),
        ({"weight": np.zeros((3, 2)), "bias": np.ones(3) * 1j}, "'bias' has dtype complex128, which holds no real"),
        ({"weight": np.zeros((3, 2)), "bias": np.array(["1"] * 3)}, "'bias' has dtype <U1, which holds no real"),
    ],
)
def test_complaints_are_exact_and_nothing_is_changed(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**changes)


@pytest.mark.parametrize("state", [None, 3, "w", [("weight", 1)], nn.Linear(2, 3)], ids=lambda s: type(s).__name__)
def test_a_state_is_a_mapping(state: Any) -> None:
    net = nn.Linear(2, 3, rng=0)
    for load in (net.load_state_dict, net.load_torch_state_dict):
        with pytest.raises(
            TypeError, match=f"^{load.__name__} of Linear: a mapping of names to arrays is needed, as state"
        ):
            load(state)
        with pytest.raises(ValueError, match="unknown key 3; missing key 'weight'"):
            load({3: np.ones(3)})


def test_a_shared_tensor_may_come_under_each_name_with_one_value() -> None:
    net = nn.Module()
    net.embedding = nn.Embedding(3, 2, rng=0)
    net.out = nn.Linear(2, 3, bias=False, rng=1)
    net.out.weight = net.embedding.weight
    assert list(net.state_dict()) == ["embedding.weight"]
    w = np.ones((3, 2))
    net.load_state_dict({"out.weight": w})
    net.load_state_dict({"embedding.weight": w, "out.weight": w})
    with pytest.raises(
        ValueError, match=r"'out\.weight' is shared with 'embedding\.weight', but the two values differ"
    ):
        net.load_state_dict({"embedding.weight": w, "out.weight": 2 * w})


def test_pytorchs_counter_is_ignored_and_unknown_keys_are_not() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2))
    state = {f"0.{key}": np.ones(2) for key in ("weight", "bias", "running_mean", "running_var")}
    net.load_torch_state_dict({**state, "0.num_batches_tracked": np.array(7)})
    assert net.state_dict()["0.running_mean"].tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"unknown key '0\.wight'"):
        net.load_torch_state_dict({**state, "0.wight": np.ones(2)})


def test_a_layer_may_convert_pytorchs_layout() -> None:
    class Turned(nn.Linear):
        def _convert_torch(self, prefix: str, mapping: dict[str, Any]) -> dict[str, Any]:
            return {f"{prefix}weight": mapping.pop(f"{prefix}kernel").T}

    net = nn.Sequential(Turned(2, 3, bias=False, rng=0))
    net.load_torch_state_dict({"0.kernel": np.arange(6).reshape(2, 3)})
    assert net[0].weight.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_deep_copies_are_apart_and_share_what_was_shared() -> None:
    net = Net()
    net.tied = net.first.weight
    twin = copy.deepcopy(net)
    assert twin.tied is twin.first.weight and twin.tied is not net.tied
    twin.first.weight.assign(np.zeros((3, 2)))
    assert host(net.first.weight).any() and isinstance(twin.scale, nn.Parameter) and isinstance(twin.count, nn.Buffer)
    np.testing.assert_array_equal(copy.deepcopy(net)(tg.ones((1, 2))), net(tg.ones((1, 2))))


def test_a_parameter_is_not_lost_to_a_constant_without_a_word() -> None:
    for value in (tg.ones((1, 2)), np.ones((1, 2)), 0.5):
        net = nn.Linear(2, 1)
        with pytest.warns(
            UserWarning, match=r"Linear\.weight was a parameter, and the constant.*\.weight\.assign\(value\)"
        ):
            net.weight = value
    net = nn.Linear(2, 1)
    with tg.no_grad(), pytest.warns(UserWarning, match="neither trained nor saved"):
        net.weight *= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = nn.Linear(2, 1)
        net.state = net.weight  # a second name may go on to something else
        net.state = tg.zeros((1, 2))
        own, net.weight = net.weight, net.weight * 2  # a function of it, as weight normalisation has
        net.weight = own
        net.weight = nn.Parameter(np.ones((1, 2)))
        net.weight = nn.Buffer(np.ones((1, 2)))
        net.bias = None
        assert list(net.state_dict()) == ["weight"] and not list(net.parameters())
        net = nn.Linear(2, 1)
        tg.grad(lambda w: (setattr(net, "weight", w), net(tg.ones((1, 2))).sum())[1])(net.weight)


def test_modules_can_be_pickled() -> None:
    net = Net()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net))(tg.ones((1, 2))), net(tg.ones((1, 2))))


# ---- modes and places --------------------------------------------------------------------------------------------


def test_train_and_eval_reach_everything_below() -> None:
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())


def test_zero_grad_clears() -> None:
    net = Net()
    net(tg.ones((1, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_to_moves_parameters_buffers_and_gradients_in_place(cuda: Any) -> None:
    with tg.device("cpu"):
        net = nn.Sequential(nn.Linear(2, 2, rng=0), nn.BatchNorm1d(2))
        net(tg.ones((3, 2))).sum().backward()
    parameters = list(net.parameters())
    assert net.to("cuda") is net and all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert {t.device for t in [*net.parameters(), *(b for _, b in net.named_buffers())]} == {"cuda:0"}
    assert all(type(p.grad) is type(p.data) for p in parameters)
    x = tg.ones((3, 2), device="cuda")
    net.zero_grad()
    net(x).sum().backward()
    assert net.to("cpu")[0].weight.grad is not None and net[0].weight.device == "cpu"


def test_to_converts_dtypes() -> None:
    net = nn.Sequential(nn.Linear(2, 2, rng=0), nn.BatchNorm1d(2)).to(dtype="float64")
    assert {value.dtype for value in net.state_dict().values()} == {np.dtype("float64")}
    assert net(tg.ones((3, 2), dtype="float64")).dtype == np.float64
    with pytest.raises(TypeError, match=r"Sequential.to: int64 is no floating dtype"):
        net.to(dtype="int64")


def test_the_default_dtype_is_the_parameters() -> None:
    with tg.default_dtype("float64"):
        assert {value.dtype for value in Net().state_dict().values()} == {np.dtype("float64")}


# ---- repr --------------------------------------------------------------------------------------------------------


def test_the_repr_shows_shapes_and_counts() -> None:
    net = nn.Sequential(nn.Linear(64, 128, rng=0), tg.tanh, nn.Sequential(nn.BatchNorm1d(128), nn.Dropout(0.25)))
    assert repr(net) == (
        "Sequential()  8,576\n"
        "  (0): Linear(64 → 128)  8,320\n"
        "    weight: (128, 64) float32\n"
        "    bias: (128,) float32\n"
        "  (1): tanh\n"
        "  (2): Sequential()  256\n"
        "    (0): BatchNorm1d(128)  256\n"
        "      weight: (128,) float32\n"
        "      bias: (128,) float32\n"
        "      running_mean: (128,) float32 (buffer)\n"
        "      running_var: (128,) float32 (buffer)\n"
        "    (1): Dropout(ρ = 0.25)"
    )


def test_the_count_follows_changes_below() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2, rng=0)))
    assert net.detail == "Sequential()  6"
    net[0].append(nn.Linear(2, 2, bias=False, rng=0))
    assert net.detail == "Sequential()  10" and len(net[0]) == 2


def test_details_of_layers() -> None:
    assert nn.Embedding(10, 4, rng=0).detail == "Embedding(10 → 4)  40"
    assert nn.Linear(2, 3, bias=False, rng=0).detail == "Linear(2 → 3, no bias)  6"
    assert nn.LayerNorm((3, 4)).detail == "LayerNorm(3 × 4)  24"
    assert nn.BatchNorm2d(3, affine=False).detail == "BatchNorm2d(3, no scale)"
    assert nn.Dropout(mode="classic").detail == "Dropout(ρ = 0.5, classic)"
