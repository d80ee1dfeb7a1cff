"""Recurrent layers: held to PyTorch's numbers, to their cells, and to what they promise of states and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import nn
from tinygrad7.testing import check_gradients

TORCH = np.load(Path(__file__).parent / "data" / "torch_recurrent.npz")
LAYERS: dict[str, Any] = {"rnn": nn.RNN, "relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS: dict[str, Any] = {"rnn_cell": nn.RNNCell, "lstm_cell": nn.LSTMCell, "gru_cell": nn.GRUCell}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no_bias": {"bias": False},
    "deep": {"num_layers": 2, "bidirectional": True},
    "padded": {"num_layers": 2, "bidirectional": True},
}


def section(case: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{case}/"): TORCH[key] for key in TORCH.files if key.startswith(f"{case}/")}


def like_torch(module: Any, kept: dict[str, np.ndarray], run: Any) -> None:
    """Load the weights, and compare outputs, final states and every gradient with what was kept."""
    weights = {k.removeprefix("weights/"): v for k, v in kept.items() if k.startswith("weights/")}
    module.to(dtype="float64").load_torch_state_dict(weights)
    x = tg.tensor(kept["x"], requires_grad=True)
    states = [tg.tensor(kept[k], requires_grad=True) for k in ("state0", "state1") if k in kept]
    outputs = run(x, tuple(states) if len(states) > 1 else states[0])
    loss = sum((y * tg.tensor(kept[f"seed{k}"])).sum() for k, y in enumerate(outputs))
    loss.backward()
    for k, y in enumerate(outputs):
        np.testing.assert_allclose(y.numpy(), kept[f"out{k}"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(x.grad, kept["grad_x"], rtol=1e-9, atol=1e-11)
    for k, state in enumerate(states):
        np.testing.assert_allclose(state.grad, kept[f"grad_state{k}"], rtol=1e-9, atol=1e-11)
    gradients = {k.removeprefix("grads/"): v for k, v in kept.items() if k.startswith("grads/")}
    for name in gradients:
        if name.startswith("bias_hh"):  # the sum of two biases has the gradient of either, the GRU's candidate apart
            rows = 2 * len(gradients[name]) // 3 if isinstance(module, nn.GRU | nn.GRUCell) else None
            gradients[name][:rows] = 0
    converted = module._convert_torch("", gradients)
    assert not gradients
    assert set(converted) == {name for name, _ in module.named_parameters()}
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(parameter.grad, converted[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("shape", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_layers_give_pytorchs_values_and_gradients(kind: str, shape: str, unroll: bool) -> None:
    kept = section(f"{kind}/{shape}")
    options = OPTIONS[shape] | ({"nonlinearity": "relu"} if kind == "relu" else {})
    module = LAYERS[kind](3, 5, unroll=unroll, **options)

    def run(x: Any, state: Any) -> list[Any]:
        y, last = module(x, state, lengths=kept.get("lengths"))
        return [y, *(last if kind == "lstm" else (last,))]

    like_torch(module, kept, run)


@pytest.mark.parametrize("kind", CELLS)
def test_cells_give_pytorchs_values_and_gradients(kind: str) -> None:
    module = CELLS[kind](3, 5)

    def run(x: Any, state: Any) -> list[Any]:
        out = module(x, state)
        return list(out) if kind == "lstm_cell" else [out]

    like_torch(module, section(f"{kind}/plain"), run)


def test_pytorchs_weights_that_do_not_fit_are_refused() -> None:
    lstm = nn.LSTM(3, 5)
    weights = {k.removeprefix("weights/"): v for k, v in section("lstm/plain").items() if k.startswith("weights/")}
    with pytest.raises(ValueError, match=r"unknown key 'weight_hr_l0'"):
        lstm.load_torch_state_dict(weights | {"weight_hr_l0": np.zeros((2, 5))})
    with pytest.raises(ValueError, match=r"missing key 'weight_hh_l0'"):
        lstm.load_torch_state_dict({k: v for k, v in weights.items() if k != "weight_hh_l0"})
    with pytest.raises(ValueError, match=r"unknown key 'bias_ih_l0'.*missing key 'bias_l0'"):
        lstm.load_torch_state_dict({k: v for k, v in weights.items() if k != "bias_hh_l0"})
    with pytest.raises(ValueError, match=r"'weight_ih_l0' has shape \(20, 3\), the module's has \(20, 4\)"):
        nn.LSTM(4, 5).load_torch_state_dict(weights)
    with pytest.raises(ValueError, match=r"unknown key 'bias_ih_l0'"):
        nn.LSTM(3, 5, bias=False).load_torch_state_dict(weights)


def test_layers_load_as_parts_of_a_model() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.rnn = nn.LSTM(3, 5)

    weights = {f"rnn.{k.removeprefix('weights/')}": v for k, v in section("lstm/plain").items() if "weights/" in k}
    model = Model()
    model.load_torch_state_dict(weights)
    i, f, g, o = np.split(weights["rnn.weight_hh_l0"], 4)
    np.testing.assert_allclose(model.rnn.weight_hh_l0, np.concatenate([i, f, o, g]), rtol=1e-6)


# ---- shapes, states, options ---------------------------------------------------------------------------------------


def data(*shape: int, seed: int = 0) -> Any:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def states_of(last: Any) -> tuple[Any, ...]:
    return last if isinstance(last, tuple) else (last,)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, nn.MultiplicativeRNN])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (1, True), (3, False), (2, True)])
def test_shapes_and_names(kind: Any, layers: int, both: bool) -> None:
    module = kind(4, 3, layers, bidirectional=both, rng=0)
    directions = 2 if both else 1
    y, last = module(data(5, 2, 4))
    assert y.shape == (5, 2, directions * 3)
    assert all(s.shape == (layers * directions, 2, 3) for s in states_of(last))
    top = states_of(last)[0]
    np.testing.assert_array_equal(y.numpy()[-1, :, :3], top.numpy()[-directions])
    if both:
        np.testing.assert_array_equal(y.numpy()[0, :, 3:], top.numpy()[-1])
    names = {name for name, _ in module.named_parameters()}
    assert {name.rpartition("_l")[2] for name in names} == {
        f"{k}{end}" for k in range(layers) for end in ("", "_reverse")[:directions]
    }
    assert all(p.name == name for name, p in module.named_parameters())


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, nn.MultiplicativeRNN])
def test_a_state_carried_over_is_a_sequence_uncut(kind: Any) -> None:
    module, x = kind(4, 3, 2, rng=0), data(6, 2, 4)
    y, last = module(x)
    first, state = module(x[:2])
    second, state = module(x[2:], state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()]), y.numpy(), rtol=1e-5, atol=1e-6)
    for a, b in zip(states_of(state), states_of(last), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layer", "cell"), [(nn.RNN, nn.RNNCell), (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)])
def test_cells_step_as_the_layer_runs(layer: Any, cell: Any) -> None:
    whole, one, x = layer(4, 3, rng=0), cell(4, 3), data(5, 2, 4)
    one.load_state_dict({name.removesuffix("_l0"): value for name, value in whole.state_dict().items()})
    y, _ = whole(x)
    state = None
    for t, row in enumerate(tg.unstack(x)):
        state = one(row, state)
        np.testing.assert_allclose(states_of(state)[0].numpy(), y.numpy()[t], rtol=1e-5, atol=1e-6)


def test_the_forget_gate_starts_open() -> None:
    for bias in (nn.LSTM(2, 3).bias_l0, nn.LSTMCell(2, 3).bias):
        np.testing.assert_array_equal(bias.numpy(), [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_initial_states_are_zeros_given_or_learned() -> None:
    x = data(4, 2, 3)
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        module = kind(3, 5, 2, learn_initial_state=True, rng=0)
        plain = kind(3, 5, 2, rng=0)
        names = [n for n, _ in module.named_parameters() if n in ("h_0", "c_0")]
        assert names == (["h_0", "c_0"] if kind is nn.LSTM else ["h_0"])
        np.testing.assert_array_equal(module(x)[0].numpy(), plain(x)[0].numpy())  # both begin at zeros
        for name in names:
            getattr(module, name).assign(np.random.default_rng(1).standard_normal((2, 5)))
        y, _ = module(x)
        stretched = [np.repeat(host(getattr(module, n))[:, None], 2, axis=1) for n in names]
        given = tuple([tg.tensor(s, requires_grad=True) for s in stretched])
        z, _ = plain(x, given if kind is nn.LSTM else given[0])
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-6)
        (y * y).sum().backward()
        (z * z).sum().backward()
        for name, state in zip(names, given, strict=True):
            np.testing.assert_allclose(getattr(module, name).grad, host(state.grad).sum(axis=1), rtol=1e-4, atol=1e-6)


def test_dropout_stands_between_layers_in_training_only() -> None:
    x = data(4, 2, 3)
    once, again, dry = (nn.GRU(3, 5, 2, dropout=rho, rng=0) for rho in (0.5, 0.5, 0.0))
    a, b, c = once(x)[0].numpy(), again(x)[0].numpy(), dry(x)[0].numpy()
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    np.testing.assert_array_equal(once.eval()(x)[0].numpy(), c)
    with pytest.warns(UserWarning, match="GRU: dropout=0.9 stands between layers, and num_layers is 1, so nothing is"):
        single = nn.GRU(3, 5, 1, dropout=0.9, rng=0)
    np.testing.assert_array_equal(single(x)[0].numpy(), single.eval()(x)[0].numpy())


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, nn.MultiplicativeRNN])
def test_padding_reaches_no_layer(kind: Any) -> None:
    module = kind(3, 4, 2, bidirectional=True, rng=0)
    x = np.random.default_rng(0).standard_normal((5, 3, 3)).astype(np.float32)
    x[2:, 1], x[4:, 2] = np.nan, np.inf
    y, last = module(tg.tensor(x), lengths=[5, 2, 4])
    assert np.isfinite(y.numpy()).all()
    assert not y.numpy()[2:, 1].any()
    alone, own = module(tg.tensor(x[:2, 1:2]))
    np.testing.assert_allclose(y.numpy()[:2, 1:2], alone.numpy(), rtol=1e-5, atol=1e-6)
    for s, t in zip(states_of(last), states_of(own), strict=True):
        np.testing.assert_allclose(s.numpy()[:, 1:2], t.numpy(), rtol=1e-5, atol=1e-6)
    (y * y).sum().backward()
    for name, p in module.named_parameters():
        assert np.isfinite(host(p.grad)).all(), name


def test_layers_and_directions_stand_apart_in_the_tape() -> None:
    module = nn.RNN(3, 4, 2, bidirectional=True, unroll=True, rng=0)
    tape = tg.Tape(module(data(3, 1, 3))[0].sum())
    found = {entry.scope for entry in tape if entry.op == "tanh"}
    assert found == {("RNN", suffix, f"t={t}") for suffix in module.suffixes for t in range(3)}
    single = nn.LSTM(3, 4, unroll=True, rng=0)
    assert {e.scope for e in tg.Tape(single(data(2, 1, 3))[0].sum()) if e.op == "tanh"} == {
        ("LSTM", "t=0"),
        ("LSTM", "t=1"),
    }


def test_how_layers_show_themselves() -> None:
    assert nn.LSTM(3, 4, 2, bidirectional=True, dropout=0.5).detail == (
        "LSTM(3 → 4, 2 layers, bidirectional, dropout 0.5)  672"
    )
    assert nn.GRUCell(3, 4).detail == "GRUCell(3 → 4)  100"


# ---- the multiplicative net ----------------------------------------------------------------------------------------


def test_the_multiplicative_net_is_its_formula() -> None:
    """The recurrent matrix of a step is W_hf diag(W_fx x) W_fh (Sutskever, Martens and Hinton, 2011)."""
    module, x = nn.MultiplicativeRNN(3, 4, factors=6, rng=0).to(dtype="float64"), host(data(5, 2, 3)).astype(float)
    p = {name: host(value).astype(float) for name, value in module.named_parameters()}
    assert p["weight_fx_l0"].shape == (6, 3)
    h = np.zeros((2, 4))
    y, last = module(tg.tensor(x))
    for t in range(5):
        for b in range(2):
            matrix = p["weight_hf_l0"] @ np.diag(p["weight_fx_l0"] @ x[t, b]) @ p["weight_fh_l0"]
            h[b] = np.tanh(matrix @ h[b] + p["weight_hx_l0"] @ x[t, b] + p["bias_l0"])
        np.testing.assert_allclose(y.numpy()[t], h, rtol=1e-6)
    np.testing.assert_array_equal(last.numpy()[0], y.numpy()[-1])


def test_the_multiplicative_nets_gradients() -> None:
    x, parameters = host(data(3, 2, 2)).astype(float), dict(nn.MultiplicativeRNN(2, 3, rng=0).named_parameters())

    def loss(x: Any, values: Any) -> Any:
        module = nn.MultiplicativeRNN(2, 3)
        for name, value in values.items():
            setattr(module, name, value)
        y, _ = module(x)
        return (y * y).sum()

    check_gradients(loss, x, {name: 2 * host(p).astype(float) for name, p in parameters.items()}, order=2)


# ---- encoder and decoder -------------------------------------------------------------------------------------------


def pairs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words of 2 to 4 letters (1 to 5) and the same words backwards, each ended by 0; and the sources' lengths."""
    sizes = rng.integers(2, 5, count)
    source, target = np.zeros((5, count), np.int64), np.zeros((5, count), np.int64)
    for b, n in enumerate(sizes):
        word = rng.integers(1, 6, n)
        source[:n, b], target[:n, b] = word, word[::-1]
    return source, target, sizes + 1


def test_an_encoder_and_decoder_learn_to_write_words_backwards() -> None:
    rng = np.random.default_rng(0)
    model = nn.EncoderDecoder(6, 6, 32, end=0, cell="gru", rng=0)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.02, clip_norm=1.0)
    for _ in range(250):
        source, target, lengths = pairs(32, rng)
        optimizer.zero_grad()
        loss = model.loss(source, target, source_lengths=lengths)
        loss.backward()
        optimizer.step()
    source, target, lengths = pairs(40, rng)
    written = model.write(source, source_lengths=lengths, max_steps=10)
    right = [list(w) == list(target[: n - 1, b]) for b, (w, n) in enumerate(zip(written, lengths, strict=True))]
    assert np.mean(right) > 0.8


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_teacher_forcing_sees_only_the_tokens_before(cell: str) -> None:
    model = nn.EncoderDecoder(5, 7, 4, end=6, embedding=3, cell=cell, num_layers=2, rng=0)
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 5, (4, 3)), rng.integers(0, 7, (5, 3))
    logits = model(source, target)
    assert logits.shape == (5, 3, 7)
    other = target.copy()
    other[2:] = (other[2:] + 1) % 7
    np.testing.assert_array_equal(model(source, other).numpy()[:3], logits.numpy()[:3])  # step 2 has not read token 2
    assert not np.allclose(model(source, other).numpy()[3], logits.numpy()[3])


def test_the_loss_counts_tokens_up_to_the_first_end() -> None:
    model = nn.EncoderDecoder(5, 4, 4, end=3, rng=0)
    source, target = np.zeros((2, 2), int), np.array([[1, 3], [2, 0], [3, 1]])
    logits = host(model(source, target)).astype(float)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = -(logs[0, 0, 1] + logs[1, 0, 2] + logs[2, 0, 3] + logs[0, 1, 3]) / 4
    np.testing.assert_allclose(model.loss(source, target).item(), wanted, rtol=1e-5)


def test_greedy_writing_follows_the_models_own_tokens() -> None:
    model = nn.EncoderDecoder(5, 6, 8, end=0, rng=3)
    source = np.random.default_rng(0).integers(0, 5, (4, 3))
    written = model.write(source, max_steps=7)
    for b, tokens in enumerate(written):
        column = np.append(tokens, 0)[:7, None]
        best = host(model(source[:, b : b + 1], column)).argmax(axis=-1)[:, 0]
        np.testing.assert_array_equal(best, column[:, 0])


def test_sampled_writing_has_the_models_distribution() -> None:
    model = nn.EncoderDecoder(2, 3, 4, end=0, rng=1)
    model.readout.bias.assign([0.0, 1.0, 2.0])
    source = np.ones((1, 4000), int)
    logits = host(model(source[:, :1], np.zeros((1, 1), int))).astype(float)[0, 0] / 0.7
    wanted = np.exp(logits) / np.exp(logits).sum()
    written = model.write(source, max_steps=1, temperature=0.7, rng=0)
    first = [w[0] if len(w) else 0 for w in written]
    np.testing.assert_allclose(np.bincount(first, minlength=3) / 4000, wanted, atol=0.03)
    longer = model.write(source, max_steps=20, temperature=1e6, rng=0)  # every token as likely: a third ends at once
    np.testing.assert_allclose(np.mean([len(w) == 0 for w in longer]), 1 / 3, atol=0.03)
    assert not any((w == 0).any() for w in longer)
    again = model.write(source, max_steps=1, temperature=0.7, rng=0)
    assert all(np.array_equal(a, b) for a, b in zip(written, again, strict=True))


TRANSLATOR = nn.EncoderDecoder(3, 4, 5, end=0)

# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LSTM(0, 3), "LSTM: input_size must be a whole number of at least 1, not 0"),
        (lambda: nn.GRU(3, 4, 1.5), "GRU: num_layers must be a whole number of at least 1, not 1.5"),
        (lambda: nn.RNN(3, 4, 2, dropout=1.0), "RNN: dropout must be a number, 0 <= dropout < 1, not 1.0"),
        (lambda: nn.LSTM(3, 4, 2, dropout="0.5"), "LSTM: dropout must be a number, 0 <= dropout < 1, not '0.5'"),
        (lambda: nn.LSTM(3, 4, 2, dropout=None), "LSTM: dropout must be a number, 0 <= dropout < 1, not None"),
        (lambda: nn.LSTM(3, 4)(data(5, 2, 3), lengths=3), "LSTM: lengths must be 2 integers, the steps of .*; got 3"),
        (lambda: nn.GRU(3, 4)(data(5, 2, 3), lengths=[3]), r"GRU: lengths must be 2 integers, .*; got \[3\]"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "RNN: nonlinearity must be 'tanh' or 'relu', not 'sin'"),
        (lambda: nn.RNNCell(3, 4, nonlinearity="sin"), "RNNCell: nonlinearity must be 'tanh' or 'relu', not 'sin'"),
        (lambda: nn.LSTMCell(3, -1), "LSTMCell: hidden_size must be a whole number of at least 1, not -1"),
        (lambda: nn.MultiplicativeRNN(3, 4, factors=0), "factors must be a whole number of at least 1, not 0"),
        (lambda: nn.LSTM(3, 4)(data(2, 3)), r"LSTM: x must be \(T, B, 3\), steps first; got \(2, 3\)"),
        (lambda: nn.LSTM(3, 4)(data(5, 2, 4)), r"LSTM: x must be \(T, B, 3\), steps first; got \(5, 2, 4\)"),
        (
            lambda: nn.GRU(3, 4)(data(5, 2, 3), data(1, 3, 4)),
            r"GRU: h must be \(1, 2, 4\), layers × directions first; got \(1, 3, 4\). Is it the state of a batch",
        ),
        (lambda: nn.LSTMCell(3, 4)(data(2, 2)), r"LSTMCell: x must be one step, \(B, 3\); got \(2, 2\)"),
        (lambda: nn.GRUCell(3, 4)(data(2, 3), data(2, 3)), r"GRUCell: h must be \(2, 4\); got \(2, 3\)"),
        (lambda: nn.EncoderDecoder(3, 4, 5, end=0, cell="mlp"), "cell must be one of 'rnn', 'lstm', 'gru', not 'mlp'"),
        (lambda: nn.EncoderDecoder(3, 4, 5, end=4), "end must be a target token, 0 to 3, not 4"),
        (lambda: TRANSLATOR.write(np.zeros((2, 1), int), temperature=-1.0), "at least 0, not -1.0"),
        (lambda: TRANSLATOR(np.zeros(2, int), np.zeros((2, 1), int)), r"source must be integers \(T, B\), steps first"),
        (
            lambda: TRANSLATOR(np.zeros((2, 3), int), np.zeros((2, 1), int)),
            "EncoderDecoder: 3 sources but 1 targets",
        ),
    ],
)  # fmt: skip
def test_bad_sizes_shapes_and_options(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_state_that_is_no_pair() -> None:
    with pytest.raises(TypeError, match=r"LSTM: the state is a pair \(h, c\) or None; got Tensor"):
        nn.LSTM(3, 4)(data(5, 2, 3), data(1, 2, 4))
    with pytest.raises(TypeError, match=r"LSTMCell: the state is a pair \(h, c\) or None; got Tensor"):
        nn.LSTMCell(3, 4)(data(2, 3), data(2, 4))
