"""The transformer of ``ai.train`` in NumPy: forward, backward by hand, Adam, and its batches.

Written apart from the kernels, and in the precision of the parameters that it is given. Rows of
tokens are arrays (sequences, tokens, width); heads are (sequences, heads, tokens, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.ai.train_shape import (
    ADAM_EPSILON,
    DECAY1,
    DECAY2,
    NORM_EPSILON,
    VOCABULARY,
    Shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FOR_WEIGHTS, FOR_TOKENS = 0, 1
"""The counter's last word."""


class Parameters:
    """One array of all parameters, or of all their gradients, by name."""

    def __init__(self, shape: Shape, flat: Array) -> None:
        self.shape = shape
        self.flat = flat
        self._views = {
            (tensor.name, tensor.layer): flat[tensor.place].reshape(tensor.rows, tensor.columns)
            for tensor in shape.tensors
        }

    def __call__(self, name: str, layer: int | None = None) -> Array:
        """A view (rows, columns) of one tensor."""
        return self._views[name, layer]


@dataclass(frozen=True, slots=True)
class Norm:
    """x / rms(x), and 1 / rms(x) of each row."""

    unit: Array
    scale: Array

    @classmethod
    def of(cls, x: Array) -> Norm:
        """Of the rows of x."""
        square = np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1]
        scale = 1 / np.sqrt(square + x.dtype.type(NORM_EPSILON))
        return cls(x * scale, scale)

    def backward(self, gain: Array, dy: Array) -> tuple[Array, Array]:
        """Gradients of x and of the gain, from those of y = x / rms(x) * gain."""
        dgain = np.einsum("bti,bti->i", dy, self.unit)
        dx = dy * gain
        dx -= self.unit * (np.einsum("...i,...i->...", dx, self.unit)[..., None] / dy.shape[-1])
        dx *= self.scale
        return dx, dgain


@dataclass(frozen=True, slots=True)
class Attention:
    """Scaled queries, keys, values, the softmax of their products, and what it mixed."""

    q: Array
    k: Array
    v: Array
    shares: Array
    mixed: Array

    @classmethod
    def of(cls, qkv: Array, heads: int) -> Attention:
        """Causal: a token sees itself and what is before it."""
        q, k, v = (_split(part, heads) for part in np.split(qkv, 3, axis=-1))
        q = q * qkv.dtype.type(q.shape[-1] ** -0.5)
        shares = q @ k.swapaxes(-1, -2)
        shares += np.triu(np.full(shares.shape[-2:], -np.inf, qkv.dtype), 1)
        shares -= shares.max(axis=-1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=-1, keepdims=True)
        return cls(q, k, v, shares, _join(shares @ v))

    def backward(self, dmixed: Array) -> Array:
        """Gradient of qkv."""
        dout = _split(dmixed, self.q.shape[1])
        dscores = dout @ self.v.swapaxes(-1, -2)
        dscores *= self.shares
        dscores -= self.shares * dscores.sum(axis=-1, keepdims=True)
        dq = dscores @ self.k
        dq *= dq.dtype.type(dq.shape[-1] ** -0.5)
        dk = dscores.swapaxes(-1, -2) @ self.q
        dv = self.shares.swapaxes(-1, -2) @ dout
        return np.concatenate([_join(dq), _join(dk), _join(dv)], axis=-1)


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What a layer's backward needs of its forward."""

    norm1: Norm
    attention: Attention
    norm2: Norm
    up: Array
    gate: Array
    active: Array
    out: Array


def layer_forward(parameters: Parameters, layer: int, x: Array) -> LayerTrace:
    """One layer on the stream x."""
    norm1 = Norm.of(x)
    normed = norm1.unit * parameters("attention gain", layer)
    attention = Attention.of(normed @ parameters("qkv", layer), parameters.shape.heads)
    middle = x + attention.mixed @ parameters("out", layer)
    norm2 = Norm.of(middle)
    up = (norm2.unit * parameters("mlp gain", layer)) @ parameters("up", layer)
    gate = np.negative(up)
    np.exp(gate, out=gate)
    gate += 1
    np.reciprocal(gate, out=gate)
    active = up * gate
    return LayerTrace(
        norm1, attention, norm2, up, gate, active, middle + active @ parameters("down", layer)
    )


def layer_backward(
    parameters: Parameters, layer: int, trace: LayerTrace, dout: Array, gradients: Parameters | None
) -> Array:
    """Gradient of the layer's input; those of its parameters go into ``gradients``, if asked."""
    dup = dout @ parameters("down", layer).T
    slope = trace.up - trace.active
    slope += 1
    slope *= trace.gate
    dup *= slope
    mlp_gain = parameters("mlp gain", layer)
    dmiddle, dmlp_gain = trace.norm2.backward(mlp_gain, dup @ parameters("up", layer).T)
    dmiddle += dout
    dqkv = trace.attention.backward(dmiddle @ parameters("out", layer).T)
    attention_gain = parameters("attention gain", layer)
    dx, dattention_gain = trace.norm1.backward(attention_gain, dqkv @ parameters("qkv", layer).T)
    dx += dmiddle
    if gradients is not None:
        _product(trace.active, dout, gradients("down", layer))
        _product(trace.norm2.unit * mlp_gain, dup, gradients("up", layer))
        _product(trace.attention.mixed, dmiddle, gradients("out", layer))
        _product(trace.norm1.unit * attention_gain, dqkv, gradients("qkv", layer))
        gradients("mlp gain", layer)[0] = dmlp_gain
        gradients("attention gain", layer)[0] = dattention_gain
    return dx


def logits_of(parameters: Parameters, tokens: Array) -> Array:
    """Forward alone."""
    x = parameters("embedding")[tokens] + parameters("position")
    for layer in range(parameters.shape.layers):
        x = layer_forward(parameters, layer, x).out
    return (Norm.of(x).unit * parameters("final gain")) @ parameters("head")


def losses_of(shape: Shape, logits: Array, tokens: Array) -> tuple[Array, Array]:
    """Losses of the tokens that count, and the gradient of their logits from the batch's mean.

    Args:
        shape: Of the whole batch.
        logits: Of the tokens that count; overwritten.
        tokens: Whole sequences.
    """
    nexts = np.arange(shape.phrase, shape.sequence + 1) % shape.phrase
    targets = tokens[:, nexts, None]
    logits -= logits.max(axis=-1, keepdims=True)
    losses = -np.take_along_axis(logits, targets, -1)
    np.exp(logits, out=logits)
    total = logits.sum(axis=-1, keepdims=True)
    losses += np.log(total)
    logits /= total
    of_target = np.take_along_axis(logits, targets, -1)
    np.put_along_axis(logits, targets, of_target - 1, -1)
    logits /= shape.counted
    return losses[..., 0], logits


def head_backward(
    parameters: Parameters, x: Array, tokens: Array, gradients: Parameters | None
) -> tuple[Array, Array]:
    """Losses of the tokens that count, and the gradient of the stream's end x."""
    shape, gain = parameters.shape, parameters("final gain")
    norm = Norm.of(x)
    normed = (norm.unit * gain)[:, shape.phrase - 1 :]
    losses, dlogits = losses_of(shape, normed @ parameters("head"), tokens)
    dnormed = np.zeros_like(x)
    dnormed[:, shape.phrase - 1 :] = dlogits @ parameters("head").T
    dx, dgain = norm.backward(gain, dnormed)
    if gradients is not None:
        _product(normed, dlogits, gradients("head"))
        gradients("final gain")[0] = dgain
    return losses, dx


def loss_of(parameters: Parameters, tokens: Array) -> float:
    """Mean over the tokens that count; forward alone."""
    logits = logits_of(parameters, tokens)[:, parameters.shape.phrase - 1 :]
    return float(losses_of(parameters.shape, logits, tokens)[0].mean())


def backward(parameters: Parameters, tokens: Array, gradients: Parameters) -> float:
    """Loss of a batch, and all its gradients."""
    layers = range(parameters.shape.layers)
    x = parameters("embedding")[tokens] + parameters("position")
    traces = []
    for layer in layers:
        traces.append(layer_forward(parameters, layer, x))
        x = traces[-1].out
    losses, dx = head_backward(parameters, x, tokens, gradients)
    for layer in reversed(layers):
        dx = layer_backward(parameters, layer, traces[layer], dx, gradients)
    gradients("embedding")[:] = 0
    np.add.at(gradients("embedding"), tokens.ravel(), _rows(dx))
    dx.sum(axis=0, out=gradients("position"))
    return float(losses.mean())


def adam(state: Sequence[Array], gradients: Array, step: int, rate: float) -> None:
    """One step of Adam, in place.

    Args:
        state: Parameters and their two moments.
        gradients: Clipped already.
        step: Counted from 1.
        rate: Learning rate of this step.
    """
    parameters, moment1, moment2 = state
    kind = parameters.dtype.type
    moment1 *= kind(DECAY1)
    moment1 += kind(1 - DECAY1) * gradients
    moment2 *= kind(DECAY2)
    moment2 += kind(1 - DECAY2) * np.square(gradients)
    change = np.sqrt(moment2)
    change *= kind((1 - DECAY2**step) ** -0.5)
    change += kind(ADAM_EPSILON)
    np.divide(moment1, change, out=change)
    change *= kind(rate / (1 - DECAY1**step))
    parameters -= change


def clipped(gradients: Array, norm: float) -> Array:
    """Gradients, or parts of them, scaled so that the norm of all is 1 at most."""
    scaled: Array = gradients * gradients.dtype.type(1 / max(1.0, norm))
    return scaled


def fresh(shape: Shape, key: tuple[int, int]) -> NDArray[np.float32]:
    """All parameters before the first step, to the bit."""
    flat = np.zeros(shape.stored, np.float32)
    for tensor in shape.tensors:
        quads = np.arange(tensor.offset // 4, tensor.place.stop // 4, dtype=np.uint32)
        words = philox(_counters(quads, 0, FOR_WEIGHTS), key).astype(np.int32).ravel()
        scale = np.float32(tensor.spread * 3**0.5) * np.float32(2.0**-31)
        flat[tensor.place] = words.astype(np.float32) * scale if tensor.spread else 1
    return flat


def batch_of(shape: Shape, key: tuple[int, int], step: int) -> NDArray[np.int64]:
    """Tokens (batch, sequence) of a step, counted from 1."""
    count = shape.batch * shape.phrase
    quads = np.arange(-(-count // 4), dtype=np.uint32)
    words = philox(_counters(quads, step, FOR_TOKENS), key).ravel()[:count]
    phrases = (words % VOCABULARY).astype(np.int64).reshape(shape.batch, shape.phrase)
    return np.concatenate([phrases, phrases], axis=1)


def philox(counters: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10: four random words (n, 4) for each counter (n, 4).

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
    """
    x0, x1, x2, x3 = counters.T.astype(np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for turn in range(10):
        key0, key1 = (
            np.uint64((word + turn * weyl) & 0xFFFFFFFF)
            for word, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        product0, product1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (
            (product1 >> np.uint64(32)) ^ x1 ^ key0,
            product1 & low,
            (product0 >> np.uint64(32)) ^ x3 ^ key1,
            product0 & low,
        )
    return np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32)


def _counters(quads: NDArray[np.uint32], step: int, purpose: int) -> NDArray[np.uint32]:
    counters = np.zeros((len(quads), 4), np.uint32)
    counters[:, 0], counters[:, 1], counters[:, 3] = quads, step, purpose
    return counters


def _split(x: Array, heads: int) -> Array:
    sequences, tokens, width = x.shape
    return x.reshape(sequences, tokens, heads, width // heads).swapaxes(1, 2)


def _join(x: Array) -> Array:
    sequences, heads, tokens, width = x.shape
    return x.swapaxes(1, 2).reshape(sequences, tokens, heads * width)


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _product(x: Array, dy: Array, gradient: Array) -> None:
    """Gradient of a weight from its inputs and the gradients of its outputs."""
    np.matmul(_rows(x).T, _rows(dy), out=gradient)
