"""What the host makes of the sculpture: moving, repeatable, and held by what claims to hold it."""

from __future__ import annotations

import numpy as np
import pytest

from gpupanel.stress.gaming.sculpture import oracle, paths, scene
from gpupanel.stress.gaming.sculpture.pacing import FRAMES_KEPT, Pacing

SEED = 7
FRAMES = [0, 1, 999, 123_456, 10_000_000]


def instances_of(tick: np.ndarray) -> np.ndarray:
    return tick[scene.HEADER :].reshape(-1, scene.INSTANCE)


@pytest.mark.parametrize("frame", FRAMES)
def test_tick_is_sound_and_keeps_clear_of_the_camera(frame: int) -> None:
    tick = scene.Sculpture(SEED).tick(frame)
    instances = instances_of(tick)
    axes = instances[:, 4:16].reshape(-1, 3, 4)[:, :, :3].astype(np.float64)

    assert np.isfinite(tick).all()
    assert len(instances) == scene.INSTANCES
    assert np.einsum("nij,nkj->nik", axes, axes) == pytest.approx(
        np.broadcast_to(np.eye(3), (scene.INSTANCES, 3, 3)), abs=1e-5
    )
    away = np.linalg.norm(instances[:, :3] - tick[:3], axis=1) - instances[:, 3]
    assert away.min() > 0.5


def test_a_frame_knows_where_everything_was_the_frame_before() -> None:
    moving = scene.Sculpture(SEED)
    before, now = moving.tick(500), moving.tick(501)

    assert np.array_equal(instances_of(now)[:, 16:19], instances_of(before)[:, :3])
    assert now[16:19] == pytest.approx(before[0:3])
    assert now[20:31] == pytest.approx(np.r_[before[4:7], 0, before[8:11], 0, before[12:15]])


def test_everything_moves() -> None:
    moving = scene.Sculpture(SEED)
    went = instances_of(moving.tick(100))[:, :3] - instances_of(moving.tick(130))[:, :3]

    assert (np.abs(went).max(axis=1) > 1e-4).mean() > 0.99


def test_history_starts_anew_at_its_frames_alone() -> None:
    moving = scene.Sculpture(SEED)
    anew = [frame for frame in range(130) if moving.tick(frame)[15] == 0.0]

    assert anew == [0, 64, 128]


def test_textures_are_functions_of_the_seed() -> None:
    assert np.array_equal(scene.texture(1), scene.texture(1))
    assert not np.array_equal(scene.texture(1), scene.texture(2))
    assert np.array_equal(scene.ripples(1, 64), scene.ripples(1, 64))


def test_water_repeats_without_a_jump() -> None:
    baked = scene.ripples(SEED, 64).astype(int)
    steps = [np.abs(baked[n] - baked[n - 1]).mean() for n in range(scene.RIPPLE_FRAMES)]

    assert max(steps) < 1.5 * np.median(steps)
    assert min(steps) > 0.5


def test_occlusion_looks_no_farther_than_rows_are_kept() -> None:
    for height in (90, 360, 2160):
        taps = scene.occlusion_taps(height, 16)
        assert np.abs(taps).max() <= height // 16 + 1 <= 144


@pytest.mark.parametrize("frame", FRAMES)
def test_clusters_hold_their_instances(frame: int) -> None:
    tick = scene.Sculpture(SEED).tick(frame)
    sorted_tick, corners = paths.clustered(tick)
    held = instances_of(sorted_tick)
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    axes = held[:, 4:16].reshape(-1, 3, 4)
    box = np.einsum("ck,nkj,nk->ncj", corner, axes[:, :, :3], axes[:, :, 3])
    ball = corner * held[:, 3, None, None]
    reached = held[:, None, :3] + np.where(held[:, 19, None, None] < 0, ball, box)
    members = reached.reshape(len(corners), -1, 3)

    assert (members >= corners[:, None, 0:3] - 1e-5).all()
    assert (members <= corners[:, None, 4:7] + 1e-5).all()
    original = instances_of(tick)
    assert np.array_equal(np.sort(held[:, 0]), np.sort(original[:, 0]))


def test_oracle_finds_the_first_of_two_and_the_face_of_a_turned_box() -> None:
    """A box of half size 1 turned by 45 degrees is met at 1.414 from its middle."""
    tick = np.zeros(scene.HEADER + 2 * scene.INSTANCE, np.float32)
    ball, box = instances_of(tick)
    turn = np.sqrt(0.5)
    ball[[1, 2, 3, 19]] = 5.0, -20.0, 1.0, -0.5
    box[[1, 2, 3, 19]] = 5.0, -10.0, 2.0, 0.5
    box[4:16] = [turn, 0, turn, 1, 0, 1, 0, 1, -turn, 0, turn, 1]
    flat = np.zeros((8, 8, 4), np.uint8)
    asked = oracle.Sculpted(tick, flat, flat)
    start = np.array([[0.0, 0.0, 9.0], [5.0, 5.0, 5.0], [0.0, 0.0, 0.0]])
    way = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])

    far, what = asked.nearest(start, way)

    assert what.tolist() == [1, oracle.SKY, oracle.POOL]
    assert far[[0, 2]] == pytest.approx([10.0 - np.sqrt(2.0), 5.0])


# ---- pacing --------------------------------------------------------------------------------


def test_pacing_knows_both_definitions_of_one_percent_low() -> None:
    pacing = Pacing()
    for frame in range(1000):
        pacing.add(0.100 if frame % 100 == 0 else 0.010)
    readings = pacing.readings()

    assert readings["frame_time_p50_ms"] == pytest.approx(10.0)
    assert readings["fps_1_percent_low_mean"] == pytest.approx(10.0)
    expected = 1.0 / np.quantile([0.100] * 10 + [0.010] * 990, 0.99)
    assert readings["fps_1_percent_low_percentile"] == pytest.approx(expected)


def test_pacing_says_nothing_before_the_first_frame() -> None:
    assert Pacing().readings() == {}


def test_pacing_forgets_what_is_long_past() -> None:
    pacing = Pacing()
    pacing.add(10.0)
    for _ in range(FRAMES_KEPT):
        pacing.add(0.010)

    assert pacing.readings()["frame_time_p99_ms"] == pytest.approx(10.0)
