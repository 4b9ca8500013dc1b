"""The load ``ai.decode``: a language model writes, one token after the other, batch 1.

Each token goes through all layers of a transformer: RMSNorm, multiplications by the weights,
attention to the context so far, a gated feed-forward. Weights are stored in 32, 16, 8 or 4 bits.
There is no vocabulary: what comes out of the last layer, normalised, and an embedding that the
token's number picks, is the next token's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.ai import decode_reference as reference
from gpupanel.stress.ai.decode_reference import HEAD_DIM, Constants, Token
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.ai.passes import refuse_vectors, require_memory
from gpupanel.stress.ai.weights import Matrix
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant

KERNEL_FILE = "ai_decode.cl"

ITEMS_GPU = 128
HEADS_PER_VERIFY = 16
"""Whose attention is computed anew; with a context of 256 some 10 ms."""

EMBEDDINGS = 64
"""Tokens that there are."""

LOG2_E = 1.4426950408889634

DEFAULTS_BY_LANES: Mapping[int, Mapping[str, int]] = {
    1: {"ROWS": 4, "GROUP_ROWS": 4},
    8: {"ROWS": 4, "GROUP_ROWS": 16},
    16: {"ROWS": 4, "GROUP_ROWS": 16},
}


class Model:
    """The layers on the device: weights, activations, and kernels with their arguments set.

    Activations of a token are kept until the next token overwrites them.

    Attributes:
        constants: What the layers are made of, as the host knows it.
        weights: Buffers of weights and scales, by layer, in the order of the matrices.
        activations: By layer: buffers by the names in ``Token``.
        keys: Of the context, by layer.
        values: Of the context, by layer.
    """

    def __init__(
        self, device: Device, knobs: Mapping[str, int], inputs: Inputs, random: np.random.Generator
    ) -> None:
        self._device = device
        self.hidden, self._ffn = knobs["hidden"], knobs["ffn"]
        self._slots = knobs["context"]
        macros = {**DEFAULTS_BY_LANES[device.lanes], **device.macros}
        self._group_rows = macros["GROUP_ROWS"]
        self._items = ITEMS_GPU if device.lanes == 1 else 1
        self._program = build(
            device.context,
            KERNEL_FILE,
            {**macros, "LANES": device.lanes, "BITS": knobs["weight_bits"]},
        )
        self._constants(knobs, random)
        gains, embeddings = self.constants.gains, self.constants.embeddings
        self._gains = [inputs.upload(f"gain {at}", gain) for at, gain in enumerate(gains)]
        self._embeddings = inputs.upload("embeddings", embeddings)
        self.weights: list[list[tuple[cl.Buffer, cl.Buffer]]] = []
        self.activations: list[dict[str, cl.Buffer]] = []
        self.keys: list[cl.Buffer] = []
        self.values: list[cl.Buffer] = []
        self._steps: list[tuple[cl.Kernel, tuple[int], tuple[int] | None]] = []
        self._attend: list[cl.Kernel] = []
        self._last, first = self._zeros(self.hidden), self._zeros(self.hidden)
        self._embed = self._normalise(self._last, self._gains[-1], first, 0)
        self._h = first

    def _constants(self, knobs: Mapping[str, int], random: np.random.Generator) -> None:
        layers, seed = knobs["layers"], int(random.integers(1 << 32))
        gains = random.normal(1, 1 / 8, (2 * layers + 1, self.hidden)).astype(np.float32)
        embeddings = np.zeros((EMBEDDINGS + 1, self.hidden), np.float32)
        embeddings[:-1] = random.standard_normal((EMBEDDINGS, self.hidden), np.float32)
        matrices = [matrices_of(knobs, (seed, layer)) for layer in range(layers)]
        probes = [[one.probe() for one in layer] for layer in matrices]
        self.constants = Constants(matrices, probes, gains, embeddings)

    def add_layer(self, inputs: Inputs) -> None:
        """Draw and upload the next layer's weights, and chain it to the one before."""
        layer = len(self.weights)
        matrices = self.constants.matrices[layer]
        self.weights.append([one.upload(self._device, inputs) for one in matrices])
        sizes = reference.sizes_of(self.hidden, self._ffn)
        at = {name: self._zeros(size) for name, size in sizes.items()}
        at["h"] = h = self._h
        self.activations.append(at)
        self.keys.append(self._zeros(self._slots * self.hidden))
        self.values.append(self._zeros(self._slots * self.hidden))
        self._normalise(h, self._gains[2 * layer], at["normed"], EMBEDDINGS)
        self._multiply(0, at["normed"], None, at["qkv"])
        self._attention(at)
        self._multiply(1, at["attended"], h, at["middle"])
        self._normalise(at["middle"], self._gains[2 * layer + 1], at["normed2"], EMBEDDINGS)
        self._multiply(2, at["normed2"], None, at["gate_up"])
        kernel = cl.Kernel(self._program, "gate")
        kernel.set_args(at["gate_up"], at["gated"])
        self._steps.append((kernel, (self._ffn // max(4, self._device.lanes),), None))
        self._multiply(3, at["gated"], at["middle"], at["out"])
        self._h = at["out"]

    def enqueue(self, token: int) -> tuple[cl.Event, cl.Event]:
        """One token through all layers; its first and its last event."""
        queue = self._device.queue
        self._embed.set_arg(5, np.uint32(token % EMBEDDINGS))
        for kernel in self._attend:
            kernel.set_arg(6, np.uint32(token % self._slots))
            kernel.set_arg(7, np.uint32(min(token + 1, self._slots)))
        first = cl.enqueue_copy(queue, self._last, self._h)
        for kernel, size, group in self._steps:
            last = cl.enqueue_nd_range_kernel(queue, kernel, size, group)
        return first, last

    def fetch(self, layer: int, heads: range, token: int) -> tuple[Token, cl.Event]:
        """What the last token left of one layer, behind everything enqueued; does not wait.

        Args:
            layer: From 0.
            heads: Whose context to fetch too.
            token: Number of the last one.
        """
        queue = self._device.queue
        buffers = {**self.activations[layer], "last": self._last}
        vectors = {name: np.empty(one.size // 4, np.float32) for name, one in buffers.items()}
        for name, host in vectors.items():
            cl.enqueue_copy(queue, host, buffers[name], is_blocking=False)
        keys, values = np.empty((2, len(heads), self._slots, HEAD_DIM), np.float32)
        offset = 4 * heads.start * self._slots * HEAD_DIM
        for host, buffer in ((keys, self.keys[layer]), (values, self.values[layer])):
            ready = cl.enqueue_copy(queue, host, buffer, src_offset=offset, is_blocking=False)
        return Token(token, layer, heads.start, vectors, keys, values), ready

    def _zeros(self, size: int) -> cl.Buffer:
        buffer = cl.Buffer(self._device.context, cl.mem_flags.READ_WRITE, 4 * size)
        cl.enqueue_fill_buffer(self._device.queue, buffer, np.float32(0), 0, 4 * size)
        return buffer

    def _normalise(self, x: cl.Buffer, gain: cl.Buffer, y: cl.Buffer, embedding: int) -> cl.Kernel:
        kernel = cl.Kernel(self._program, "normalise")
        vectors = np.uint32(self.hidden // max(4, self._device.lanes))
        kernel.set_args(x, gain, self._embeddings, y, vectors, np.uint32(embedding), self._local(1))
        self._steps.append((kernel, (self._items,), (self._items,)))
        return kernel

    def _multiply(self, index: int, x: cl.Buffer, base: cl.Buffer | None, y: cl.Buffer) -> None:
        matrix = self.constants.matrices[len(self.weights) - 1][index]
        weights, scales = self.weights[-1][index]
        kernel = cl.Kernel(self._program, "multiply")
        kernel.set_args(
            weights, scales, x, x if base is None else base, y, np.uint32(matrix.columns),
            np.uint32(base is not None), self._local(1),
        )  # fmt: skip
        groups = matrix.rows // self._group_rows
        self._steps.append((kernel, (groups * self._items,), (self._items,)))

    def _attention(self, at: Mapping[str, cl.Buffer]) -> None:
        kernel = cl.Kernel(self._program, "attend")
        kernel.set_args(
            at["qkv"], self.keys[-1], self.values[-1], at["attended"], np.uint32(self._slots),
            np.float32(LOG2_E / HEAD_DIM**0.5), np.uint32(0), np.uint32(1),
            cl.LocalMemory(4 * self._slots), self._local(1),
        )  # fmt: skip
        self._attend.append(kernel)
        groups = self.hidden // HEAD_DIM
        self._steps.append((kernel, (groups * self._items,), (self._items,)))

    def _local(self, floats_per_item: int) -> cl.LocalMemory:
        return cl.LocalMemory(4 * floats_per_item * self._items)


class Decode:
    """Host side of ``ai.decode``. One step is one token.

    The oracle takes one layer of the newest token after the other: its vectors as the device left
    them, each computed anew from the one before in float64; products by sampled rows, and by a
    signed sum of all rows; attention by some heads. All weights are digested besides.

    Attributes:
        model: Set by prepare().
    """

    model: Model

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._knobs = knobs
        self._random = np.random.default_rng(seed)
        self._tokens = 0
        self._verifications = 0
        self._fetched: tuple[Token, cl.Event] | None = None
        million = self._count_weights() / 1e6
        self.notes: tuple[str, ...] = (
            f"{million:.0f} million weights of {knobs['weight_bits']} bits, "
            f"{self._weight_bytes() / 2**20:.0f} MiB; a context of {knobs['context']} tokens",
        )

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By how many rows an item multiplies together, and by vector width."""
        if not device.is_cpu:
            return tuple(
                Variant(f"{rows} rows together", 1, {"ROWS": rows, "GROUP_ROWS": rows})
                for rows in (4, 8, 2)
            )
        return tuple(
            Variant(f"vectors of {lanes}, {rows} rows together", lanes,
                    {"ROWS": rows, "GROUP_ROWS": 16})
            for lanes in ((16, 8) if device.lanes > 8 else (8,))
            for rows in (4, 2, 8)
        )  # fmt: skip

    def prepare(self, report: Report) -> None:
        """Build the program, draw the weights layer by layer and carry them to the device."""
        self._require_memory()
        report("kernel", 0.0)
        self._inputs = Inputs(self._device)
        try:
            self.model = Model(self._device, self._knobs, self._inputs, self._random)
            for layer in range(self._knobs["layers"]):
                report("weights", layer / self._knobs["layers"])
                self.model.add_layer(self._inputs)
        except cl.MemoryError as error:
            raise WorkloadError(
                f"the device has no room for these weights: choose fewer layers or bits ({error})"
            ) from error
        report("weights", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Some tokens through a small model, all rows and heads of all its layers.

        Raises:
            WorkloadError: Vectors were given; there is no file format for them.
        """
        refuse_vectors("ai.decode", vectors)
        knobs = {**self._knobs, "hidden": 256, "ffn": 512, "layers": 2, "context": 16}
        inputs = Inputs(self._device)
        model = Model(self._device, knobs, inputs, self._random)
        for _ in range(2):
            model.add_layer(inputs)
        checks: list[Check] = []
        for token in range(20):  # more than the context holds
            model.enqueue(token)
        for layer in range(2):
            fetched, ready = model.fetch(layer, range(2), 19)
            ready.wait()
            checks += reference.checks_of(model.constants, fetched, self._random)
        worst = [check for check in checks if not check.passed] or checks[:1]
        return [replace(worst[0], name=f"tokens: {worst[0].name}")]

    def cost(self) -> Cost:
        """Weights and context are read once a token; two operations per weight."""
        context = 2 * 4 * self._knobs["context"] * self._knobs["hidden"] * self._knobs["layers"]
        return Cost(
            {
                Ceiling.READ: self._weight_bytes() + context,
                Ceiling.FP32: 2.0 * self._count_weights(),
            }
        )

    def launch(self, steps: int) -> Chunk:
        """Enqueue ``steps`` tokens; each begins with what the one before left."""
        events: list[cl.Event] = []
        for _ in range(steps):
            events += self.model.enqueue(self._tokens)
            self._tokens += 1
        self._device.queue.flush()
        return Chunk(work=steps, first=events[0], last=events[-1])

    def complete(self, chunk: Chunk) -> None:
        """Nothing to keep: verify() reads the activations behind everything launched."""

    def verify(self) -> list[Check]:
        """Look at what the last call fetched of a token, and fetch the newest."""
        checks, fetched = self._inputs.check(), self._fetched
        self._inputs.enqueue()
        self._fetched = self._fetch() if self._tokens else None
        self._device.queue.flush()
        if fetched is None:
            return checks
        token, ready = fetched
        ready.wait()
        return checks + reference.checks_of(self.model.constants, token, self._random)

    def readings(self) -> Mapping[str, float]:
        """Its rate says it all."""
        return {}

    def frame(self) -> None:
        """Tokens have no picture."""

    def _fetch(self) -> tuple[Token, cl.Event]:
        """The next layer, and the next heads of it."""
        rounds, layer = divmod(self._verifications, self._knobs["layers"])
        self._verifications += 1
        heads = self.model.hidden // HEAD_DIM
        first = rounds * HEADS_PER_VERIFY % heads
        chosen = range(first, min(first + HEADS_PER_VERIFY, heads))
        return self.model.fetch(layer, chosen, self._tokens - 1)

    def _matrices(self) -> list[Matrix]:
        return matrices_of(self._knobs, (0,))

    def _count_weights(self) -> int:
        return self._knobs["layers"] * sum(one.rows * one.columns for one in self._matrices())

    def _weight_bytes(self) -> float:
        return self._knobs["layers"] * sum(one.rows * one.bytes_per_row for one in self._matrices())

    def _require_memory(self) -> None:
        knobs = self._knobs
        cache = 4 * knobs["context"] * knobs["hidden"]
        pieces = [int(one.rows * one.bytes_per_row) for one in self._matrices()] + [cache] * 2
        what = f"a model of {self._count_weights() / 1e6:.0f} million weights"
        require_memory(self._device, what, pieces * knobs["layers"])


def matrices_of(knobs: Mapping[str, int], key: tuple[int, ...]) -> list[Matrix]:
    """The matrices of a layer: q, k and v; after attention; gate and up; down."""
    hidden, ffn, bits = knobs["hidden"], knobs["ffn"], knobs["weight_bits"]
    shapes = {
        "qkv": (3 * hidden, hidden),
        "output": (hidden, hidden),
        "gate and up": (2 * ffn, hidden),
        "down": (hidden, ffn),
    }
    place = f"layer {key[-1]}, "
    return [
        Matrix(place + name, (*key, index), *shape, bits)
        for index, (name, shape) in enumerate(shapes.items())
    ]
