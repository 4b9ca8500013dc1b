"""What a token's activations should be: each computed from the one before, by NumPy in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.ai.passes import U, check_of
from gpupanel.stress.ai.weights import DRAWN_ROWS, Matrix, Probe
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Differences = tuple[NDArray[Any], Floats, Floats]
    Compared = tuple[str, NDArray[Any], Floats, Floats]

HEAD_DIM = 128
EPSILON = 1e-5
"""Both are those of ai_decode.cl."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token left of one layer.

    Attributes:
        number: Of the token, from 0.
        first_head: Of those whose context is in ``keys`` and ``values``, (heads, slots, HEAD_DIM).
        vectors: By the names of ``sizes_of``; ``h`` is the layer's input, ``last`` what the last
            layer gave for the token before.
    """

    number: int
    layer: int
    first_head: int
    vectors: Mapping[str, NDArray[np.float32]]
    keys: NDArray[np.float32]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Constants:
    """What a model's layers are made of beside their input.

    Attributes:
        matrices: Of each layer: q, k and v; after attention; gate and up; down.
        probes: Of each matrix.
        gains: Of every RMSNorm: two a layer, and the one before the first.
        embeddings: By token; one more, of zeros.
    """

    matrices: Sequence[Sequence[Matrix]]
    probes: Sequence[Sequence[Probe]]
    gains: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def sizes_of(hidden: int, ffn: int) -> dict[str, int]:
    """The vectors that a layer computes, in their order."""
    return {
        "normed": hidden,
        "qkv": 3 * hidden,
        "attended": hidden,
        "middle": hidden,
        "normed2": hidden,
        "gate_up": 2 * ffn,
        "gated": ffn,
        "out": hidden,
    }


def checks_of(constants: Constants, token: Token, random: np.random.Generator) -> list[Check]:
    """One layer of a token: whole vectors where they are quick, rows and a head where not."""
    return [_check(token, *compared) for compared in _compared(constants, token, random)]


def _compared(
    constants: Constants, token: Token, random: np.random.Generator
) -> Iterator[Compared]:
    """Name, what the device computed, what it should be, how far off it may be."""
    at, gains = token.vectors, constants.gains[2 * token.layer :]
    if token.layer == 0:
        number = token.number % (len(constants.embeddings) - 1)
        embedding = constants.embeddings[number]
        yield "embedding", at["h"], *_normalised(at["last"], constants.gains[-1], embedding)
    yield "norm", at["normed"], *_normalised(at["h"], gains[0])
    yield "context", *_remembered(token)
    yield "attention", *_attended(token)
    yield "second norm", at["normed2"], *_normalised(at["middle"], gains[1])
    yield "gate", at["gated"], *_gated(at["gate_up"])
    products = (
        ("normed", "qkv", None),
        ("attended", "middle", "h"),
        ("normed2", "gate_up", None),
        ("gated", "out", "middle"),
    )
    layer = zip(constants.matrices[token.layer], constants.probes[token.layer], strict=True)
    for (matrix, probe), (x, y, base) in zip(layer, products, strict=True):
        yield f"{y}, all rows", *_probed(probe, at[x], at[y], None if base is None else at[base])
        number = int(random.integers(matrix.rows // DRAWN_ROWS))
        rows = slice(number * DRAWN_ROWS, (number + 1) * DRAWN_ROWS)
        weights = matrix.exact(number)
        yield y, at[y][rows], *_product(weights, at[x], None if base is None else at[base][rows])


def _check(
    token: Token, name: str, computed: NDArray[Any], expected: Floats, bound: Floats
) -> Check:
    wrong = np.flatnonzero(~(np.abs(computed - expected) <= bound))  # NaN is wrong
    faults = [
        f"token {token.number}, layer {token.layer}: {name}[{at}] is {computed[at]:.9g}, "
        f"not {expected[at]:.9g}"
        for at in wrong
    ]
    return check_of(name, faults, f"{computed.size} numbers")


# Sums of n terms are off by 4 sqrt(n) u times the sum of their magnitudes at most, as a rule of
# probability (Higham and Mary, 2019); single operations by u of their result.


def _product(
    weights: Floats, x: NDArray[np.float32], base: NDArray[np.float32] | None
) -> tuple[Floats, Floats]:
    """Rows of matrix times vector, plus base."""
    exact = x.astype(np.float64)
    # No BLAS: its threads would spin beside the run.
    y = np.einsum("rc,c->r", weights, exact)
    bound = 4 * len(x) ** 0.5 * U * np.einsum("rc,c->r", np.abs(weights), np.abs(exact))
    if base is not None:
        y += base
        bound += 2 * U * np.abs(y)
    return y, bound


def _normalised(
    x: NDArray[np.float32], gain: NDArray[np.float32], shift: NDArray[np.float32] | float = 0.0
) -> tuple[Floats, Floats]:
    exact = x.astype(np.float64)
    y = exact / np.sqrt(np.square(exact).mean() + EPSILON) * gain
    bound = (4 * len(x) ** 0.5 + 8) * U * np.abs(y) + 2 * U * np.abs(y + shift)
    return y + shift, bound


def _gated(gate_up: NDArray[np.float32]) -> tuple[Floats, Floats]:
    gate, up = gate_up.astype(np.float64).reshape(2, -1)
    y = gate / (1 + np.exp(-gate)) * up
    # exp's argument is off by 3 u of itself, its result by a few u of itself.
    return y, (3 * np.abs(gate) + 16) * U * np.abs(y) + 2.0**-120


def _probed(
    probe: Probe, x: NDArray[np.float32], y: NDArray[np.float32], base: NDArray[np.float32] | None
) -> Differences:
    """All rows at once, after Freivalds: a signed sum of y against the signed sum of rows times x.

    Errors of rows, some 4 sqrt(n) u |row| |x|, add up with random signs: six times the root of
    their squares' sum is never reached by chance. A row that is off by more than that shows.
    """
    total = probe.signs @ (y.astype(np.float64) - (0 if base is None else base))
    expected = np.einsum("c,c->", probe.sums, x.astype(np.float64))
    size = 4 * len(x) ** 0.5 * probe.norm * np.linalg.norm(x) + 2 * np.linalg.norm(y)
    return np.array([total]), np.array([expected]), np.array([6 * U * size])


def _remembered(token: Token) -> Differences:
    """The token's own keys and values, which stand in the context bit by bit."""
    heads, slots, _ = token.keys.shape
    mine = slice(token.first_head, token.first_head + heads)
    own = token.vectors["qkv"].reshape(3, -1, HEAD_DIM)[1:, mine].astype(np.float64).ravel()
    newest = np.stack((token.keys, token.values))[:, :, token.number % slots].ravel()
    return newest, own, np.zeros(own.size)


def _attended(token: Token) -> Differences:
    """Some heads over the context."""
    heads, slots, _ = token.keys.shape
    mine = slice(token.first_head, token.first_head + heads)
    query = token.vectors["qkv"].reshape(3, -1, HEAD_DIM)[0, mine].astype(np.float64)
    count = min(token.number + 1, slots)
    keys = token.keys[:, :count].astype(np.float64)
    values = token.values[:, :count].astype(np.float64)
    query = query / HEAD_DIM**0.5
    scores = np.einsum("hd,hkd->hk", query, keys)
    magnitude = np.linalg.norm(query, axis=1) * np.linalg.norm(keys, axis=2).max(axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    relative = 2 * (4 * HEAD_DIM**0.5 + 4) * U * magnitude + (16 + 8 * count**0.5) * U
    bound = relative[:, None] * np.einsum("hk,hkd->hd", powers, np.abs(values))
    computed = token.vectors["attended"].reshape(-1, HEAD_DIM)[mine]
    return computed.ravel(), np.einsum("hk,hkd->hd", powers, values).ravel(), bound.ravel()
