"""gaming.pathtrace on PoCL: paths against NumPy with the same random numbers, faults found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.gaming.sculpture import path_oracle, scene
from gpupanel.stress.gaming.sculpture.paths import SHOT_FRAMES
from gpupanel.stress.gaming.sculpture.pathtrace import Pathtrace
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 7
STRIPS = 25
KNOBS = {"height": 90, "paths": 1, "bounces": 3}


def prepared(device: Device, lanes: int = 16, **knobs: int) -> Pathtrace:
    made = Pathtrace(replace(device, lanes=lanes), KNOBS | knobs, SEED)
    made.prepare(lambda _step, _share: None)
    return made


@pytest.fixture
def load(device: Device) -> Pathtrace:
    return prepared(device)


def run(load: Pathtrace, frames: int = 1, chunks_per_frame: int = 5) -> None:
    for _ in range(frames * chunks_per_frame):
        chunk = load.launch(STRIPS // chunks_per_frame)
        chunk.last.wait()
        load.complete(chunk)


def picture(load: Pathtrace) -> NDArray[np.uint32]:
    pixels, copied = load._shown.read("picture")
    copied.wait()
    return pixels


def rounds(load: Pathtrace, count: int) -> list[Check]:
    checks = []
    for _ in range(count):
        run(load, frames=6)
        checks += load.verify()
    return checks


@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_self_test_follows_paths_for_every_packet_width(device: Device, lanes: int) -> None:
    checks = prepared(device, lanes).self_test()

    assert all(check.passed for check in checks), checks
    assert len(checks) == 5 * (1 if lanes == 1 else 2)


@pytest.mark.parametrize(("paths", "bounces"), [(1, 1), (4, 2), (2, 8)])
def test_paths_and_bounces_agree_with_the_oracle(device: Device, paths: int, bounces: int) -> None:
    load = prepared(device, paths=paths, bounces=bounces)
    load._step = SHOT_FRAMES * 40 * STRIPS
    run(load)
    checks = load.verify()

    assert checks
    assert all(check.passed for check in checks), checks


def test_bounces_bring_light_and_paths_take_noise_away(device: Device) -> None:
    once, twice, long = (
        prepared(device, bounces=bounces, paths=paths)
        for bounces, paths in ((1, 4), (4, 4), (4, 4))
    )
    run(once)
    run(twice)
    run(long, frames=16)
    dim, bright, clean = (
        picture(load).view(np.uint8).reshape(90, 160, 4)[..., 1].astype(float)
        for load in (once, twice, long)
    )

    assert bright[45:].mean() > dim[45:].mean() + 1.0
    rough, smooth = (np.abs(np.diff(image[45:], axis=1)).mean() for image in (bright, clean))
    assert smooth < 0.9 * rough


def test_a_frame_is_a_function_of_its_number(device: Device) -> None:
    long, short = prepared(device), prepared(device)
    long._step = (SHOT_FRAMES - 2) * STRIPS
    run(long, 4, chunks_per_frame=1)
    short._step = SHOT_FRAMES * STRIPS
    run(short, 2)

    assert np.array_equal(picture(long), picture(short))


def test_a_sound_device_passes_every_check(load: Pathtrace) -> None:
    checks = rounds(load, 7)

    assert all(check.passed for check in checks), checks
    assert sum("drawn again" in check.name for check in checks) >= 3
    assert sum(check.name.endswith("paths") for check in checks) >= 3


def test_random_numbers_are_even_and_differ_by_path_and_number() -> None:
    """Against the moments of the uniform distribution, five standard errors wide."""
    pixels = np.arange(100_000, dtype=np.uint32)
    first, second = (
        path_oracle.mixed(path_oracle.mixed(np.array([path], np.uint32)) + pixels)
        for path in (1, 2)
    )
    draws = [path_oracle.chance(first, 0), path_oracle.chance(first, 1)]
    draws.append(path_oracle.chance(second, 0))
    for draw in draws:
        assert 0.0 <= draw.min() < draw.max() < 1.0
        assert draw.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / 1e5))
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 5 / np.sqrt(1e5)


def test_catalog_names_this_host_its_knobs_and_its_readings(load: Pathtrace) -> None:
    info = WORKLOAD_BY_NAME["gaming.pathtrace"]
    run(load)

    assert info.host == f"{Pathtrace.__module__}:{Pathtrace.__name__}"
    assert {knob.name for knob in info.knobs} == set(KNOBS)
    assert set(load.readings()) == {reading.key for reading in info.readings}


def test_there_are_no_vector_files(load: Pathtrace) -> None:
    with pytest.raises(WorkloadError, match="no vector files"):
        load.self_test({})


# ---- faults --------------------------------------------------------------------------------


def before_upload_of(load: Pathtrace, change: Callable[[dict[str, Any]], None]) -> None:
    upload = load._shown.upload

    def wrong(frame: int, arrays: dict[str, Any]) -> Any:
        arrays = {name: array.copy() for name, array in arrays.items()}
        change(arrays)
        return upload(frame, arrays)

    load._shown.upload = wrong  # type: ignore[method-assign,assignment]


def corrupt_transform(load: Pathtrace) -> None:
    def move_one(arrays: dict[str, Any]) -> None:
        arrays["tick"][scene.HEADER + scene.INSTANCE * 700 + 1] += 2.0

    before_upload_of(load, move_one)


def lose_clusters(load: Pathtrace) -> None:
    """Half of the clusters are nowhere."""

    def shrink(arrays: dict[str, Any]) -> None:
        arrays["clusters"][::2, 4:7] = arrays["clusters"][::2, 0:3] - 1.0

    before_upload_of(load, shrink)


def other_random_numbers(load: Pathtrace) -> None:
    load._shown.plan = _Shifted(load._plan.paths, load._plan.bounces)  # type: ignore[attr-defined]


class _Shifted:
    def __init__(self, paths: int, bounces: int) -> None:
        self.paths, self.bounces = paths, bounces

    def of(self, frame: int) -> tuple[int, int, int, int]:
        return 1000 + frame, self.paths, self.bounces, frame % SHOT_FRAMES * self.paths


def wrong_mean(load: Pathtrace) -> None:
    draw = load._shown.draw

    def wrong(frame: int, strip: Any, uploaded: list[Any]) -> Any:
        history = load._shown.buffers[f"history{frame % 2}"]
        if strip.name == "develop":
            cl.enqueue_fill_buffer(
                load._device.queue, history, np.float32(0.3), 0, history.size // 8 * 4
            )
        return draw(frame, strip, uploaded)

    load._shown.draw = wrong  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        (corrupt_transform, "scene in the device's memory"),
        (lose_clusters, "paths"),
        (other_random_numbers, "paths"),
        (wrong_mean, "paths"),
        (wrong_mean, "drawn again"),
    ],
)
def test_faults_are_found(
    load: Pathtrace, fault: Callable[[Pathtrace], None], found_by: str
) -> None:
    fault(load)
    failed = [check for check in rounds(load, 3) if not check.passed]

    assert any(check.name.endswith(found_by) for check in failed), failed
