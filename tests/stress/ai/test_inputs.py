"""The digest of what the device holds, against arithmetic without limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.stress.ai.inputs import Inputs, digest_of
from gpupanel.stress.workload import Check, Device
from tests.stress.ai.runs import LANES, flip_bit

words = st.lists(st.integers(0, 2**32 - 1), max_size=50)


def checked(inputs: Inputs) -> list[Check]:
    inputs.enqueue()
    return inputs.check()


@given(words, st.integers(0, 2**40))
def test_a_digest_is_a_weighted_sum(values: list[int], first: int) -> None:
    expected = sum(word * (2 * (first + at) + 1) for at, word in enumerate(values)) % 2**32
    assert digest_of(np.array(values, np.uint32), first) == expected


@given(words.filter(bool), st.data())
def test_a_digest_adds_up_from_parts(values: list[int], data: st.DataObject) -> None:
    array = np.array(values, np.uint32)
    cut = data.draw(st.integers(0, len(values)))
    parts = digest_of(array[:cut]) + digest_of(array[cut:], cut)
    assert parts % 2**32 == digest_of(array)


@given(words.filter(bool), st.data())
def test_every_single_change_changes_it(values: list[int], data: st.DataObject) -> None:
    array = np.array(values, np.uint32)
    changed = array.copy()
    at = data.draw(st.integers(0, len(values) - 1))
    changed[at] = data.draw(st.integers(0, 2**32 - 1).filter(lambda word: word != values[at]))
    assert digest_of(changed) != digest_of(array)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("count", [1, 15, 16, 17, 1000, 100_003])
def test_the_device_digests_as_the_host_does(processor: Device, lanes: int, count: int) -> None:
    inputs = Inputs(dataclasses.replace(processor, lanes=lanes))
    array = np.random.default_rng(count).integers(0, 2**32, count, np.uint32)
    buffer = inputs.upload("numbers", array)
    assert [check.passed for check in checked(inputs)] == [True]
    flip_bit(processor, buffer, count - 1, bit=31)
    (check,) = checked(inputs)
    assert not check.passed
    assert check.detail == "memory changed: numbers"
    flip_bit(processor, buffer, count - 1, bit=31)
    assert checked(inputs)[0].passed


def test_only_what_changed_is_named(processor: Device) -> None:
    inputs = Inputs(processor)
    assert checked(inputs) == []
    buffers = [inputs.upload(name, np.arange(64, dtype=np.float32)) for name in ("A", "B", "C")]
    assert inputs.check() == []  # nothing was enqueued yet
    assert checked(inputs) == [Check("inputs", passed=True, detail="0 KiB")]
    flip_bit(processor, buffers[1], 5)
    assert checked(inputs)[0].detail == "memory changed: B"


def test_large_indices_wrap_as_on_the_device(processor: Device) -> None:
    """Beyond 2**31 words, twice the index leaves 32 bits."""
    ones = np.ones(4, np.uint32)
    assert digest_of(ones, 2**31) == digest_of(ones)
    assert digest_of(ones, 2**31 - 2) == sum(2 * (2**31 - 2 + at) + 1 for at in range(4)) % 2**32


def test_a_buffer_filled_by_other_means_is_watched(processor: Device) -> None:
    inputs = Inputs(processor)
    array = np.arange(100, dtype=np.uint32)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    buffer = cl.Buffer(processor.context, flags, hostbuf=array)
    inputs.watch("right", buffer, digest_of(array))
    assert checked(inputs)[0].passed
    inputs.watch("wrong", buffer, digest_of(array) ^ 1)
    assert checked(inputs)[0].detail == "memory changed: wrong"
