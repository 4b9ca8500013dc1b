"""The frame loop on PoCL: the picture against NumPy, and every kind of fault found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.gaming import reference, scene, shapes
from gpupanel.stress.gaming.canvas import BANDS, Canvas, Program, band_rows, stride
from gpupanel.stress.gaming.raymarch import Raymarch, compare
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 7
KNOBS = {"width": 160, "height": 90}


@pytest.fixture
def load(device: Device) -> Raymarch:
    return prepared(device)


def prepared(device: Device, seed: int = SEED, lanes: int = 16, **knobs: int) -> Raymarch:
    narrowed = Device(device.context, device.queue, True, lanes, device.memory_bytes)
    made = Raymarch(narrowed, KNOBS | knobs, seed)
    made.prepare(lambda _step, _share: None)
    return made


def run(load: Raymarch, steps: int = BANDS) -> None:
    chunk = load.launch(steps)
    chunk.last.wait()
    load.complete(chunk)


def picture(load: Raymarch) -> NDArray[np.uint8]:
    """What the device holds after the last launch."""
    pixels, copied = load._canvas.read(0, load._height)
    copied.wait()
    return pixels


def rounds(load: Raymarch, count: int) -> list[Check]:
    checks = []
    for _ in range(count):
        run(load)
        checks += load.verify()
    return checks


@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_self_test_compares_every_packet_width(device: Device, lanes: int) -> None:
    checks = prepared(device, lanes=lanes).self_test()

    assert all(check.passed for check in checks), checks
    assert len(checks) == (1 if lanes == 1 else 2)


def test_self_test_finds_a_wrong_texture(device: Device) -> None:
    load = prepared(device)
    other = scene.texture(SEED + 1)
    cl.enqueue_copy(device.queue, load._texture_buffer, other)

    assert not any(check.passed for check in load.self_test())


def test_there_are_no_vector_files(load: Raymarch) -> None:
    with pytest.raises(WorkloadError, match="no vector files"):
        load.self_test({})


def test_too_little_memory_is_said_with_a_remedy(device: Device) -> None:
    small = Device(device.context, device.queue, True, 16, memory_bytes=1 << 20)

    with pytest.raises(WorkloadError, match="choose a smaller width"):
        Raymarch(small, KNOBS, SEED).prepare(lambda _step, _share: None)


def test_catalog_names_this_host_and_its_knobs() -> None:
    info = WORKLOAD_BY_NAME["gaming.raymarch"]

    assert info.host == f"{Raymarch.__module__}:{Raymarch.__name__}"
    assert {knob.name for knob in info.knobs} == set(KNOBS)


def test_a_sound_device_passes_every_check(load: Raymarch) -> None:
    load._step = 3_000 * BANDS
    checks = rounds(load, BANDS + 1)

    assert all(check.passed for check in checks), checks
    assert sum("drawn again" in check.name for check in checks) == BANDS
    assert sum("against the oracle" in check.name for check in checks) == BANDS + 1


@pytest.mark.parametrize(("width", "height"), [(171, 97)])
def test_sizes_that_fill_no_packet_agree_with_the_oracle(
    device: Device, width: int, height: int
) -> None:
    wide = prepared(device, lanes=16, width=width, height=height)
    narrow = prepared(device, lanes=1, width=width, height=height)
    checks = rounds(wide, 2) + rounds(narrow, 2)

    assert all(check.passed for check in checks), checks
    off = np.abs(picture(wide).astype(int) - picture(narrow))
    assert off.mean() < 0.5
    assert (off.max(axis=-1) > 8).mean() < 0.02


def test_a_frame_does_not_depend_on_how_it_was_chunked(device: Device) -> None:
    whole, in_bands, uneven = (prepared(device) for _ in range(3))
    run(whole, 2 * BANDS)
    for _ in range(2 * BANDS):
        run(in_bands, 1)
    for steps in (3, 6, 7):
        run(uneven, steps)

    expected = picture(whole)
    assert np.array_equal(picture(in_bands), expected)
    assert np.array_equal(picture(uneven), expected)


def test_work_is_counted_in_frames(load: Raymarch) -> None:
    chunks = [load.launch(steps) for steps in (1, 5, 10)]

    assert [chunk.work for chunk in chunks] == [1 / 8, 5 / 8, 10 / 8]
    for chunk in chunks:
        chunk.last.wait()
        assert chunk.first.profile.start < chunk.last.profile.end


@pytest.mark.parametrize("height", [90, 91, 97, 2160])
def test_bands_cover_every_row_once(height: int) -> None:
    rows = [row for band in range(BANDS) for row in range(*band_rows(height, band))]

    assert rows == list(range(height))


def test_frames_move_and_seeds_differ(device: Device) -> None:
    first, other = prepared(device), prepared(device, seed=SEED + 1)
    run(first)
    run(other)
    start = picture(first)
    assert not np.array_equal(start, picture(other))
    first._step = 600 * BANDS
    run(first)
    assert (picture(first) != start).any(axis=-1).mean() > 0.5


# ---- faults --------------------------------------------------------------------------------


def corrupt_texture(load: Raymarch) -> None:
    gone = np.zeros_like(load._texture)
    cl.enqueue_copy(load._device.queue, load._texture_buffer, gone)


def lose_an_object(load: Raymarch) -> None:
    """One lantern jumps on its way to the device; only the first canvas is hit."""
    upload = load._canvas.upload

    def wrong(tick: NDArray[np.float32]) -> Any:
        tick[scene.HEADER + 8 * 20 + 1] += 1.5
        return upload(tick)

    load._canvas.upload = wrong  # type: ignore[method-assign]


def before_post(load: Raymarch, value: float, rows: tuple[int, int]) -> None:
    finish = load._canvas.finish
    row_bytes = 4 * stride(load._width)

    def wrong(first_row: int, last_row: int) -> Any:
        cl.enqueue_fill_buffer(
            load._device.queue, load._canvas.light, np.float32(value),
            rows[0] * row_bytes, (rows[1] - rows[0]) * row_bytes,
        )  # fmt: skip
        return finish(first_row, last_row)

    load._canvas.finish = wrong  # type: ignore[method-assign]


def overwrite_region(load: Raymarch) -> None:
    before_post(load, 0.9, (40, 52))


def overwrite_one_row(load: Raymarch) -> None:
    before_post(load, 0.9, (60, 61))


def not_a_number(load: Raymarch) -> None:
    before_post(load, float("nan"), (30, 31))


def black(load: Raymarch) -> None:
    def nothing(first_row: int, last_row: int) -> Any:
        queue = load._device.queue
        size = 4 * load._width * load._height
        return cl.enqueue_fill_buffer(queue, load._canvas.picture, np.uint32(0), 0, size)

    load._canvas.finish = nothing  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        (corrupt_texture, "against the oracle"),
        (overwrite_region, "against the oracle"),
        (overwrite_one_row, "drawn again"),
        (lose_an_object, "drawn again"),
        (not_a_number, "is a picture"),
        (black, "is a picture"),
    ],
)
def test_faults_are_found(load: Raymarch, fault: Callable[[Raymarch], None], found_by: str) -> None:
    assert all(check.passed for check in rounds(load, 2))
    load.verify()
    fault(load)
    failed = [check for check in rounds(load, BANDS + 2) if not check.passed]

    assert any(found_by in check.name for check in failed), failed


def test_compare_accepts_an_edge_and_refuses_a_wrong_pixel() -> None:
    oracle = np.full((3, 64), 100)
    shown = oracle.copy()
    shown[:, :6] = 180
    at_edge = compare("edge", shown, oracle, oracle, np.full((3, 64), 185))
    in_the_open = compare("open", shown, oracle, oracle, oracle)
    shifted = compare("shifted", oracle + 3, oracle, oracle, oracle)

    assert (at_edge.passed, in_the_open.passed, shifted.passed) == (True, False, False)


# ---- pictures for the window ---------------------------------------------------------------


def test_nothing_is_read_back_unasked(load: Raymarch, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = Canvas.read

    def counted(canvas: Canvas, first_row: int, last_row: int) -> Any:
        reads.append(last_row - first_row)
        return read(canvas, first_row, last_row)

    monkeypatch.setattr(Canvas, "read", counted)
    run(load, 4 * BANDS)
    assert len(reads) == 1, "the frame that verify() will look at"
    assert load.frame() is None
    run(load, 4 * BANDS)
    assert len(reads) == 2


def test_frame_returns_the_latest_picture(load: Raymarch) -> None:
    assert load.frame() is None
    run(load)
    load._device.queue.finish()
    latest = load.frame()

    assert latest is not None
    width, height, rgbx = latest
    assert (width, height) == (160, 90)
    shown = np.frombuffer(rgbx, np.uint8).reshape(90, 160, 4)
    assert np.array_equal(shown, picture(load))


# ---- the scene -----------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [0, 1, 999, 123_456, 10_000_000])
def test_tick_is_finite_and_keeps_clear_of_the_camera(frame: int) -> None:
    tick = scene.tick(frame, SEED)
    objects = tick[scene.HEADER :].reshape(-1, 8)

    assert np.isfinite(tick).all()
    assert len(objects) == scene.OBJECTS
    assert (np.linalg.norm(objects[:, :3] - tick[:3], axis=1) > 2.0).all()
    assert np.linalg.norm(tick[16:28].reshape(3, 4), axis=1) == pytest.approx(1.0, abs=1e-6)


def test_texture_is_a_function_of_the_seed() -> None:
    assert np.array_equal(scene.texture(1), scene.texture(1))
    assert not np.array_equal(scene.texture(1), scene.texture(2))


def test_distance_never_oversteps() -> None:
    """Inside the ball that ``distance`` promises to be free, nothing stands."""
    rng = np.random.default_rng(1)
    axes = scene.tick(500, SEED)[16:28].reshape(3, 4)[:, :3].astype(np.float64)
    points = rng.uniform([[-14.0], [0.0], [-14.0]], [[14.0], [11.5], [14.0]], (3, 100_000))
    free = shapes.distance(points, axes)
    way = shapes.unit(rng.normal(size=points.shape))
    reached = points + way * np.maximum(free, 0.0) * rng.random(free.shape) ** 0.2

    assert np.min(shapes.distance(reached, axes)[free > 0.0]) > -0.012


def test_oracle_texture_lookup_is_bilinear_and_repeats() -> None:
    texels = scene.texture(SEED)
    drawn = reference.Scene(scene.tick(0, SEED), texels)
    row = texels[5, :, 1] / 255.0
    u = np.linspace(0.1, 0.9, 50)
    expected = np.interp(u * scene.TEXELS, np.arange(scene.TEXELS), row)

    assert drawn._sample(u, np.full(50, 5 / scene.TEXELS))[1] == pytest.approx(expected)
    assert drawn._sample(u - 3.0, np.full(50, 2 + 5 / scene.TEXELS))[1] == pytest.approx(expected)


def test_program_is_the_same_text_for_all_widths(device: Device) -> None:
    for lanes in (1, 8, 16):
        assert Program.make(device.context, 64, 32, lanes).lanes == lanes
