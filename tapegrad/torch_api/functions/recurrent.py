"""Recurrent networks: cells, layers of them in both directions, and sequences of several lengths.

In torch's order of operations: the products with a sequence's inputs are made all at once, those with the hidden state
step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.tensor import wrap
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.torch_bits import with_bits_of
from tapegrad.torch_api.raw import raw

State = list[Any]  # of a cell: [h], or [h, c] of an LSTM
Cell = Callable[[Any, State, Sequence[Any]], State]  # (input's share, state, weights) -> the next state

# --- cells ---


def hidden_share(h: Any, weights: Sequence[Any]) -> Any:
    """What the hidden state adds to the gates; ``weights`` are w_ih, w_hh, and b_ih, b_hh, if there are biases."""
    return F.linear(h, weights[1], weights[3] if len(weights) >= 4 else None)


def input_share(x: Any, weights: Sequence[Any]) -> Any:
    """What inputs add to the gates."""
    return F.linear(x, weights[0], weights[2] if len(weights) >= 4 else None)


def tanh_cell(x: Any, state: State, weights: Sequence[Any]) -> State:
    """Elman 1990."""
    return [torch.tanh(hidden_share(state[0], weights) + x)]


def relu_cell(x: Any, state: State, weights: Sequence[Any]) -> State:
    """Elman's, with another nonlinearity."""
    return [torch.relu(hidden_share(state[0], weights) + x)]


def gru_cell(x: Any, state: State, weights: Sequence[Any]) -> State:
    """Cho et al. 2014; the reset gate is applied to the product, as torch does."""
    xr, xz, xn = x.chunk(3, 1)
    hr, hz, hn = hidden_share(state[0], weights).chunk(3, 1)
    reset, update = torch.sigmoid(hr + xr), torch.sigmoid(hz + xz)
    new = torch.tanh(xn + hn * reset)
    return [(state[0] - new) * update + new]


def lstm_cell(x: Any, state: State, weights: Sequence[Any]) -> State:
    """Hochreiter & Schmidhuber 1997, with a forget gate; a third (or fifth) weight projects the hidden state."""
    h, c = state
    i, f, g, o = (hidden_share(h, weights) + x).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return [h @ weights[-1].t() if len(weights) in (3, 5) else h, c]


def _enter_cell(function: Callable[..., Any], cell: Cell) -> None:
    def own(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        states = list(hx) if cell is lstm_cell else [hx]
        for h in states:
            expected = (*input.shape[:-1], w_hh.shape[1])
            if h.shape != expected:
                raise RuntimeError(
                    f"{function.__name__}(): hx, of shape {tuple(h.shape)}, must be {expected}, by input and w_hh"
                )
        weights = [w_ih, w_hh, b_ih, b_hh]
        state = cell(input_share(input, weights), states, weights)
        return tuple(state) if cell is lstm_cell else state[0]

    composition(function)(own)


_enter_cell(torch.rnn_tanh_cell, tanh_cell)
_enter_cell(torch.rnn_relu_cell, relu_cell)
_enter_cell(torch.gru_cell, gru_cell)
_enter_cell(torch.lstm_cell, lstm_cell)

# --- one layer in one direction ---


def over_steps(cell: Cell, steps: Any, state: State, weights: Sequence[Any], reverse: bool) -> tuple[Any, State]:
    """A cell over the steps of a sequence (T, N, ...): the outputs, stacked, and the last state."""
    shares = list(input_share(steps, weights).unbind(0))
    outputs = []
    for x in reversed(shares) if reverse else shares:
        state = cell(x, state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state


def over_packed(
    cell: Cell, data: Any, sizes: list[int], state: State, weights: Sequence[Any], reverse: bool
) -> tuple[Any, State]:
    """A cell over packed sequences, the longest first: ``sizes`` of them are left at each step."""
    shares = input_share(data, weights).split(sizes, 0)
    outputs = []
    if reverse:  # shorter sequences join in with their first state
        first, state = state, [s[: sizes[-1]] for s in state]
        for x in reversed(shares):
            joined, n = state[0].shape[0], x.shape[0]
            if n > joined:
                state = [torch.cat([s, f[joined:n]]) for s, f in zip(state, first, strict=True)]
            state = cell(x, state, weights)
            outputs.append(state[0])
        return torch.cat(outputs[::-1]), state
    ended: list[State] = []  # the last states of those that have ended, the shortest first
    for x in shares:
        n = x.shape[0]
        if n < state[0].shape[0]:
            ended.append([s[n:] for s in state])
            state = [s[:n] for s in state]
        state = cell(x, state, weights)
        outputs.append(state[0])
    ended.append(state)
    return torch.cat(outputs), [torch.cat(parts) for parts in zip(*ended[::-1], strict=True)]


# --- torch's functions ---


def network(
    cell: Cell, x: Any, sizes: list[int] | None, hx: Sequence[Any], params: Sequence[Any], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """Layers, each over the outputs of the one before: the outputs of the last, and the last states of all."""
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    last: list[State] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            weights, state = params[k * each : (k + 1) * each], [h[k] for h in hx]
            if sizes is None:
                out, state = over_steps(cell, x, state, weights, direction == 1)
            else:
                out, state = over_packed(cell, x, sizes, state, weights, direction == 1)
            outputs.append(out)
            last.append(state)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
        if dropout and train and layer < num_layers - 1:
            x = F.dropout(x, dropout)
    return (x, *[torch.stack(states) for states in zip(*last, strict=True)])


def _enter_network(function: Callable[..., Any], cell: Cell) -> None:
    def own(first: Any, second: Any, third: Any, fourth: Any, *options: Any) -> Any:
        with torch.random.fork_rng((), enabled=torch.is_grad_enabled()):
            exact = function(*raw((first, second, third, fourth)), *options)
        if not torch.is_grad_enabled():
            return tuple([wrap(t, None) for t in exact])
        ours = composed(first, second, third, fourth, *options)
        return tuple([with_bits_of(bits, out) for bits, out in zip(exact, ours, strict=True)])

    def composed(first: Any, second: Any, third: Any, fourth: Any, *options: Any) -> Any:
        if isinstance(fourth, (list, tuple)):  # packed: data, batch_sizes, hx, params, has_biases, ...
            hx = third if cell is lstm_cell else [third]
            return network(cell, first, second.tolist(), hx, fourth, *options)
        *options_, batch_first = options  # input, hx, params, has_biases, ..., batch_first
        hx = second if cell is lstm_cell else [second]
        x = first.transpose(0, 1) if batch_first else first
        out, *states = network(cell, x, None, hx, third, fourth, *options_)
        return (out.transpose(0, 1) if batch_first else out, *states)

    composition(function)(own)


_enter_network(torch.rnn_tanh, tanh_cell)
_enter_network(torch.rnn_relu, relu_cell)
_enter_network(torch.gru, gru_cell)
_enter_network(torch.lstm, lstm_cell)

# --- sequences of several lengths ---


@composition(torch._pack_padded_sequence)
def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool) -> tuple[Any, torch.Tensor]:
    first, second = input.shape[:2]
    where = torch.arange(first * second).view(first, second)
    index, sizes = torch._pack_padded_sequence(where, lengths, batch_first)
    return input.flatten(0, 1)[index.to(input.device)], sizes


@composition(torch._pad_packed_sequence)
def pad_packed_sequence(
    data: Any, batch_sizes: torch.Tensor, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Any, torch.Tensor]:
    where = torch.arange(data.shape[0])
    index, lengths = torch._pad_packed_sequence(where, batch_sizes, batch_first, -1, total_length)
    index = index.to(data.device)
    inside = (index >= 0).view(*index.shape, *[1] * (data.ndim - 1))
    return torch.where(inside, data[index.clamp(min=0)], padding_value), lengths


@composition(torch._C._nn.pad_sequence)  # what torch.nn.utils.rnn.pad_sequence calls
def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    sequences = [x.to(sequences[0].dtype) for x in sequences]
    longest = max(x.shape[0] for x in sequences)
    padded = []
    for x in sequences:
        missing = longest - x.shape[0]
        sides = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(F.pad(x, (0, 0) * (x.ndim - 1) + sides, value=padding_value))
    return torch.stack(padded, 0 if batch_first else 1)
