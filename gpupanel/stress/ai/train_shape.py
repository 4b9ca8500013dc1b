"""The transformer of ``ai.train``: sizes, the place of its parameters, the task, what a step costs.

A decoder as GPT and Llama are: token and position embeddings; per layer RMS norm, causal
attention, RMS norm and an MLP with SiLU; a last norm and a head of its own. No biases.

Its task is to copy: a sequence is a random phrase and its repetition. Whoever learned to look half
a sequence back knows every token from the phrase's end on, and its loss falls to 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from gpupanel.model.errors import WorkloadError

VOCABULARY = 64
"""Different tokens; the loss of one who knows nothing is ln(64) = 4.16."""

HEAD_WIDTHS = (16, 32, 64)
"""A query of one head stays in the registers of one work-item."""

ALIGNMENT = 128
"""Tensors begin at multiples of so many elements: OpenCL asks it of a part of a buffer."""

DECAY1, DECAY2, ADAM_EPSILON = 0.9, 0.95, 1e-8
"""Of Adam's moments, as in ai_train.cl."""

NORM_EPSILON = 1e-5
"""As in ai_train.cl."""

WARM_UP_STEPS = 40
DEADLINE_STEPS = 1000
"""By then the loss has to have been below LEARNED_LOSS.

Seen: steps 82 to 107 of 40 seeds with the sizes of a processor, 161 to 200 of 3 seeds with those of
a GPU, 180 to 485 of 20 seeds with those
that learn worst (4 layers, heads 16 wide, ffn twice the width, 128 tokens).
"""

LEARNED_LOSS = 0.5
"""An eighth of what ignorance costs."""

AVERAGED_STEPS = 8
"""A loss is the mean over so many steps: single batches jump."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One parameter array, row after row in the one buffer that holds all of them.

    Attributes:
        name: What a person calls it, without its layer.
        layer: None for those outside the layers.
        offset: Of its first element in the buffer.
        spread: Standard deviation of its fresh elements; 0: all of them are 1.
    """

    name: str
    layer: int | None
    offset: int
    rows: int
    columns: int
    spread: float

    @property
    def size(self) -> int:
        """Elements."""
        return self.rows * self.columns

    @property
    def place(self) -> slice:
        """Its elements in the buffer."""
        return slice(self.offset, self.offset + self.size)

    @property
    def title(self) -> str:
        """Its name with its layer."""
        return self.name if self.layer is None else f"layer {self.layer} {self.name}"


@dataclass(frozen=True)
class Shape:
    """Sizes of the model and of its batches.

    Attributes:
        width: Of the residual stream.
        heads: Of attention.
        ffn: Width of the MLP's middle.
        layers: An attention and an MLP each.
        sequence: Tokens of a sequence.
        batch: Sequences per step.
    """

    width: int
    heads: int
    ffn: int
    layers: int
    sequence: int
    batch: int

    @classmethod
    def of(cls, knobs: Mapping[str, int]) -> Shape:
        """From the knobs of the load.

        Raises:
            WorkloadError: They do not fit together.
        """
        shape = cls(**{field.name: knobs[field.name] for field in fields(cls)})
        if shape.width not in [shape.heads * width for width in HEAD_WIDTHS]:
            fitting = ", ".join(str(shape.width // width) for width in reversed(HEAD_WIDTHS))
            raise WorkloadError(
                f"heads={shape.heads} does not cut width={shape.width} into heads of 16, 32 or 64: "
                f"choose heads from {fitting}"
            )
        if shape.ffn < 2 * shape.width:
            raise WorkloadError(
                f"ffn={shape.ffn} is too narrow to learn with width={shape.width}: choose "
                f"ffn={2 * shape.width} or more"
            )
        return shape

    @property
    def tokens(self) -> int:
        """Per step: the rows of all matrices."""
        return self.sequence * self.batch

    @property
    def head_width(self) -> int:
        """Of a query, a key or a value."""
        return self.width // self.heads

    @property
    def phrase(self) -> int:
        """Random tokens that a sequence begins with, and then repeats."""
        return self.sequence // 2

    @property
    def counted(self) -> int:
        """Tokens per step whose successor can be known: the loss is their mean."""
        return self.batch * (self.sequence - self.phrase + 1)

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All parameters in the order of the buffer."""
        return tuple(self._lay_out())

    @property
    def parameters(self) -> int:
        """That are trained."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def stored(self) -> int:
        """Elements of the buffer: the parameters, and zeros between tensors."""
        last = self.tensors[-1]
        return last.offset + last.size

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Matrices that rows of tokens are multiplied with."""
        inside = ("qkv", "out", "up", "down", "head")
        return tuple(tensor for tensor in self.tensors if tensor.name in inside)

    def tensor(self, name: str, layer: int | None = None) -> Tensor:
        """By name."""
        return next(one for one in self.tensors if (one.name, one.layer) == (name, layer))

    @property
    def flop_per_step(self) -> int:
        """Of the products of forward and backward, causal attention counted to its edge.

        A weight costs each token a multiply-add forward, one for the gradient of its input and one
        for its own. Attention: two products forward and four backward, with the t keys up to
        token t.
        """
        elements = sum(weight.size for weight in self.weights)
        pairs = self.tokens * (self.sequence + 1) // 2
        return 6 * self.tokens * elements + 12 * pairs * self.width * self.layers

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 1: a warm-up, then constant; lower for wide and deep models."""
        depth, width = 2 / max(2, self.layers), math.sqrt(128 / self.width)
        return 0.003 * depth * width * min(1.0, step / WARM_UP_STEPS)

    def _lay_out(self) -> Iterator[Tensor]:
        offset = 0
        for name, layer, rows, columns, spread in self._tensors():
            yield Tensor(name, layer, offset, rows, columns, spread)
            offset += -(-rows * columns // ALIGNMENT) * ALIGNMENT

    def _tensors(self) -> Iterator[tuple[str, int | None, int, int, float]]:
        """Name, layer, rows, columns, spread; what adds to the stream begins small."""
        width, ffn = self.width, self.ffn
        small = 0.1 * (2 * self.layers) ** -0.5
        yield "embedding", None, VOCABULARY, width, 0.1
        yield "position", None, self.sequence, width, 0.1
        for layer in range(self.layers):
            yield "attention gain", layer, 1, width, 0.0
            yield "qkv", layer, width, 3 * width, width**-0.5
            yield "out", layer, width, width, small * width**-0.5
            yield "mlp gain", layer, 1, width, 0.0
            yield "up", layer, width, ffn, width**-0.5
            yield "down", layer, ffn, width, small * ffn**-0.5
        yield "final gain", None, 1, width, 0.0
        yield "head", None, width, VOCABULARY, width**-0.5
