"""gaming.frame on PoCL: every pass against NumPy, and every kind of fault found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.drawing import Drawing, Size
from gpupanel.stress.gaming.sculpture.frame import Frame
from gpupanel.stress.gaming.sculpture.passes import Passes, strips
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 7
STRIPS = 14


def prepared(device: Device, lanes: int = 16, seed: int = SEED, height: int = 90) -> Frame:
    made = Frame(replace(device, lanes=lanes), {"height": height}, seed)
    made.prepare(lambda _step, _share: None)
    return made


@pytest.fixture
def load(device: Device) -> Frame:
    return prepared(device)


def run(load: Frame, steps: int = STRIPS) -> None:
    chunk = load.launch(steps)
    chunk.last.wait()
    load.complete(chunk)


def picture(load: Frame) -> NDArray[np.uint32]:
    """What the device holds after the last launch."""
    pixels, copied = load._shown.read("picture")
    copied.wait()
    return pixels


def seconds_of_run(load: Frame, seconds: int) -> list[Check]:
    """As many rounds of verify() as the worker makes in that time, frames in between."""
    checks = []
    for _ in range(seconds):
        for _ in range(STRIPS + 2):
            run(load, 3)
        checks += load.verify()
    return checks


@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_self_test_compares_every_pass_for_every_packet_width(device: Device, lanes: int) -> None:
    checks = prepared(device, lanes).self_test()

    assert all(check.passed for check in checks), checks
    assert len(checks) == 9 * (1 if lanes == 1 else 2)


def test_self_test_finds_a_wrong_texture(device: Device, load: Frame) -> None:
    cl.enqueue_copy(device.queue, load._texture_buffer, scene.texture(SEED + 1))
    failed = {check.name.split(", ")[-1] for check in load.self_test() if not check.passed}

    assert {"scene in the device's memory", "G-buffer"} <= failed


def test_there_are_no_vector_files(load: Frame) -> None:
    with pytest.raises(WorkloadError, match="no vector files"):
        load.self_test({})


def test_too_little_memory_is_said_with_a_remedy(device: Device) -> None:
    with pytest.raises(WorkloadError, match="choose a smaller height"):
        Frame(replace(device, memory_bytes=1 << 20), {"height": 90}, SEED).prepare(lambda *_: None)


def test_catalog_names_this_host_its_knobs_and_its_readings(load: Frame) -> None:
    info = WORKLOAD_BY_NAME["gaming.frame"]
    run(load, 2 * STRIPS)

    assert info.host == f"{Frame.__module__}:{Frame.__name__}"
    assert [knob.name for knob in info.knobs] == ["height"]
    assert set(load.readings()) == {reading.key for reading in info.readings}
    assert all(value >= 0.0 for value in load.readings().values())


def test_every_size_fits_packets_and_the_glow() -> None:
    for height in WORKLOAD_BY_NAME["gaming.frame"].knobs[0].choices:
        assert (height * 16 // 9) % 16 == 0
        assert height % 90 == 0
        assert height * 16 % 9 == 0


@pytest.mark.parametrize("height", [90, 1080, 2160])
def test_strips_cover_every_row_of_every_pass_once(height: int) -> None:
    size = Size(height * 16 // 9, height, 256, 512)
    for is_cpu in (False, True):
        rows: dict[str, list[int]] = {}
        for strip in strips(size, is_cpu=is_cpu):
            rows.setdefault(strip.name, []).extend(range(strip.first, strip.last))
        assert rows.pop("shadow") == list(range(512))
        assert all(covered == list(range(height)) for covered in rows.values())
        assert len(rows) == 5


def test_a_sound_device_passes_every_check(load: Frame) -> None:
    load._step = 3_000 * STRIPS
    checks = seconds_of_run(load, 6)

    assert all(check.passed for check in checks), checks
    assert sum("drawn again" in check.name for check in checks) >= 3
    for name in ("G-buffer", "sun's map", "occlusion", "light", "history", "glow", "picture"):
        assert sum(check.name.endswith(name) for check in checks) >= 3


def test_packet_widths_draw_the_same_picture(device: Device) -> None:
    shown = []
    for lanes in (1, 8, 16):
        load = prepared(device, lanes)
        run(load, 3 * STRIPS)
        shown.append(picture(load).view(np.uint8).astype(int))

    for other in shown[1:]:
        off = np.abs(other - shown[0]).reshape(-1, 4)
        assert off.mean() < 0.05
        assert (off.max(axis=1) > 2).mean() < 0.003


def test_a_frame_is_a_function_of_its_number(device: Device) -> None:
    """Whatever was drawn before, and however it was chunked: history starts anew at frame 64."""
    long, short, uneven = (prepared(device) for _ in range(3))
    long._step = 55 * STRIPS
    run(long, 12 * STRIPS)
    short._step = uneven._step = 64 * STRIPS
    run(short, 3 * STRIPS)
    for steps in (5, 1, 20, 9, 7):
        run(uneven, steps)

    assert np.array_equal(picture(long), picture(short))
    assert np.array_equal(picture(uneven), picture(short))


def test_frames_move_and_seeds_differ(device: Device, load: Frame) -> None:
    other = prepared(device, seed=SEED + 1)
    run(load)
    run(other)
    start = picture(load)
    assert not np.array_equal(start, picture(other))
    load._step = 64 * STRIPS
    run(load)
    assert (picture(load) != start).mean() > 0.5


def test_work_is_counted_in_frames(load: Frame) -> None:
    chunks = [load.launch(steps) for steps in (1, 6, 21)]

    assert [chunk.work for chunk in chunks] == [1 / 14, 6 / 14, 21 / 14]
    for chunk in chunks:
        chunk.last.wait()
        assert chunk.first.profile.start < chunk.last.profile.end


def test_cost_is_at_least_the_memory_of_a_frame(load: Frame) -> None:
    amount = load.cost().amounts[Ceiling.COPY]

    assert 160 * 90 * 4 * (4 + 3 + 3 + 1) < amount < 160 * 90 * 4 * 60 + 16 * 512 * 512


# ---- faults --------------------------------------------------------------------------------


def corrupt_texel(load: Frame) -> None:
    """One bit of one of 262144 texels."""
    texel = load._texture.view(np.uint32)[300, 200] ^ np.uint32(1 << 12)
    where = 4 * (300 * 512 + 200)
    cl.enqueue_fill_buffer(load._device.queue, load._texture_buffer, texel, where, 4)


def before_upload_of(load: Frame, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what is uploaded to show; what is drawn again is sound."""
    upload = load._shown.upload

    def wrong(frame: int, arrays: dict[str, Any]) -> Any:
        arrays = {name: array.copy() for name, array in arrays.items()}
        change(arrays)
        return upload(frame, arrays)

    load._shown.upload = wrong  # type: ignore[method-assign,assignment]


def corrupt_transform(load: Frame) -> None:
    """One pillar stands two above its place."""

    def raise_one(arrays: dict[str, Any]) -> None:
        arrays["tick"][scene.HEADER + scene.INSTANCE * 700 + 1] += 2.0

    before_upload_of(load, raise_one)


def corrupt_ripple(load: Frame) -> None:
    def flip(arrays: dict[str, Any]) -> None:
        arrays["ripples"][5, 6, 0] ^= 1

    before_upload_of(load, flip)


def after_pass(load: Frame, name: str, change: Callable[[Passes], Any]) -> None:
    draw = load._shown.draw

    def wrong(frame: int, strip: Any, uploaded: list[Any]) -> Any:
        parts = draw(frame, strip, uploaded)
        if strip.name == name and strip.last in (load._size.height, load._size.map_edge):
            change(load._shown)  # type: ignore[arg-type]
        return parts

    load._shown.draw = wrong  # type: ignore[method-assign]


def filled(load: Frame, name: str, value: float, share: tuple[float, float]) -> Callable[..., Any]:
    """Fill a part of a buffer."""

    def change(passes: Drawing) -> None:
        buffer = passes.buffers[name]
        first, last = (int(buffer.size // 4 * part) * 4 for part in share)
        pattern = np.float32(value)
        cl.enqueue_fill_buffer(load._device.queue, buffer, pattern, first, last - first)

    return change


def lose_instances(load: Frame) -> None:
    """The bits of 64 instances are gone from every tile."""

    def change(passes: Drawing) -> None:
        masks = passes.buffers["masks"]
        for tile in range(masks.size // 256):
            cl.enqueue_fill_buffer(load._device.queue, masks, np.uint32(0), 256 * tile + 4 * 60, 8)

    draw = load._shown.draw

    def wrong(frame: int, strip: Any, uploaded: list[Any]) -> Any:
        if strip.name == "raster" and strip.first == 0:
            change(load._shown)
        return draw(frame, strip, uploaded)

    load._shown.draw = wrong  # type: ignore[method-assign]


def wrong_map(load: Frame) -> None:
    after_pass(load, "shadow", filled(load, "map", 20.0, (0.4, 0.6)))


def wrong_occlusion(load: Frame) -> None:
    after_pass(load, "occlude", filled(load, "open", 0.4, (0.0, 1.0)))


def wrong_light(load: Frame) -> None:
    after_pass(load, "shade", filled(load, "light", 0.2, (0.0, 0.33)))


def wrong_history(load: Frame) -> None:
    after_pass(load, "develop", filled(load, "history0", 0.1, (0.0, 1.0)))


def one_wrong_row(load: Frame) -> None:
    after_pass(load, "develop", filled(load, "picture", 0.5, (41 / 90, 42 / 90)))


def not_a_number(load: Frame) -> None:
    after_pass(load, "shade", filled(load, "light", float("nan"), (0.1, 0.11)))


def black(load: Frame) -> None:
    after_pass(load, "develop", filled(load, "picture", 0.0, (0.0, 1.0)))


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        (corrupt_texel, "scene in the device's memory"),
        (corrupt_transform, "scene in the device's memory"),
        (corrupt_ripple, "scene in the device's memory"),
        (lose_instances, "drawn again"),
        (wrong_map, "sun's map"),
        (wrong_occlusion, "occlusion"),
        (wrong_light, "light"),
        (wrong_history, "history"),
        (one_wrong_row, "drawn again"),
        (not_a_number, "a picture"),
        (black, "a picture"),
    ],
)
def test_faults_are_found_within_five_seconds(
    load: Frame, fault: Callable[[Frame], None], found_by: str
) -> None:
    assert all(check.passed for check in seconds_of_run(load, 2))
    fault(load)
    failed = [check for check in seconds_of_run(load, 4) if not check.passed]

    assert any(check.name.endswith(found_by) for check in failed), failed


# ---- pictures for the window ---------------------------------------------------------------


def test_nothing_is_read_back_unasked(load: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = Drawing.read

    def counted(drawing: Drawing, name: str) -> Any:
        reads.append(name)
        return read(drawing, name)

    monkeypatch.setattr(Drawing, "read", counted)
    run(load, 4 * STRIPS)
    assert reads.count("picture") == 1, "the frame that verify() will look at"
    assert load.frame() is None
    run(load, 4 * STRIPS)
    assert reads.count("picture") == 2


def test_frame_returns_the_latest_picture(load: Frame) -> None:
    assert load.frame() is None
    run(load)
    load._device.queue.finish()
    latest = load.frame()

    assert latest is not None
    width, height, rgbx = latest
    assert (width, height) == (160, 90)
    assert np.array_equal(np.frombuffer(rgbx, np.uint32), picture(load))
