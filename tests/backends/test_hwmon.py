"""hwmon and the kernel's small files: labels, units, kept descriptors, faults."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpupanel.backends.linux.hwmon import Hwmon
from gpupanel.backends.linux.sysfs import ASLEEP_OR_RESET, KeptFile, KeptFolder
from gpupanel.model.gpu import NOT_TOLD, Unavailable


def _device(root: Path, **files: str) -> Path:
    folder = root / "hwmon" / "hwmon7"
    folder.mkdir(parents=True)
    for name, text in {"name": "amdgpu\n", **files}.items():
        (folder / name).write_text(text)
    return root


def test_units_are_ours(tmp_path: Path) -> None:
    hwmon = Hwmon(
        _device(
            tmp_path, temp1_input="41000\n", power1_average="41045000", energy1_input="2500000",
            freq1_input="798080000", in0_input="975", in1_input="700", fan1_input="595", pwm1="35",
        )
    )  # fmt: skip
    assert hwmon.read("temp") == 41
    assert hwmon.read("power", item="average") == pytest.approx(41.045)
    assert hwmon.read("energy") == 2.5
    assert hwmon.read("freq") == pytest.approx(798.08)
    assert hwmon.read("fan") == 595
    assert hwmon.read("pwm", item="") == 35


def test_the_first_voltage_is_number_0(tmp_path: Path) -> None:
    hwmon = Hwmon(_device(tmp_path, in0_input="975", in1_input="700"))
    assert hwmon.read("in") == 975


def test_labels_decide_and_not_numbers(tmp_path: Path) -> None:
    files = {"temp2_label": "mem\n", "temp2_input": "60000", "temp3_label": "junction\n"}
    hwmon = Hwmon(_device(tmp_path, temp3_input="70000", **files))
    assert hwmon.read("temp", "junction") == 70
    assert hwmon.read("temp", "mem") == 60
    assert hwmon.read("temp", "edge") == NOT_TOLD


def test_only_the_named_driver_counts(tmp_path: Path) -> None:
    device = _device(tmp_path, temp1_input="41000")
    assert Hwmon(device, "amdgpu").read("temp") == 41
    assert Hwmon(device, "xe").read("temp") == NOT_TOLD
    assert Hwmon(tmp_path / "nothing").read("temp") == NOT_TOLD


def test_a_missing_file_is_looked_for_once(tmp_path: Path) -> None:
    hwmon = Hwmon(_device(tmp_path))
    assert hwmon.read("temp") == NOT_TOLD
    (tmp_path / "hwmon/hwmon7/temp1_input").write_text("41000")
    assert hwmon.read("temp") == NOT_TOLD


def test_a_file_is_opened_once_and_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hwmon = Hwmon(_device(tmp_path, temp1_input="41000"))
    assert hwmon.read("temp") == 41
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened again"))
    (tmp_path / "hwmon/hwmon7/temp1_input").write_text("42000")
    assert hwmon.read("temp") == 42


def test_a_device_that_was_there_anew_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "value"
    path.write_text("1")
    file = KeptFile(str(path))
    assert file.read() == b"1"
    pread = os.pread
    gone = iter([True])

    def once_gone(descriptor: int, size: int, offset: int) -> bytes:
        if next(gone, False):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", once_gone)
    path.unlink()
    path.write_text("2")
    assert file.read() == b"2"
    file.close()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EPERM, ASLEEP_OR_RESET.reason),
        (errno.EINVAL, "Invalid argument"),
        (errno.EBUSY, "busy"),
    ],
)
def test_a_refusal_is_a_reason(
    number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> bytes:
        raise OSError(number, os.strerror(number))

    folder = KeptFolder(str(tmp_path))
    (tmp_path / "value").write_text("1")
    monkeypatch.setattr(os, "pread", refuse)
    reading = folder.number("value")
    assert isinstance(reading, Unavailable)
    assert reason in reading.reason


def test_a_right_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/value"

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    assert KeptFolder(str(tmp_path)).number("value") == Unavailable(
        f"needs read permission on {path}"
    )


def test_a_folder_that_is_away_is_looked_for_again(tmp_path: Path) -> None:
    folder = KeptFolder(str(tmp_path / "driver"))
    assert folder.number("value") == NOT_TOLD
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "value").write_text("7\n\0\0")
    assert folder.number("value") == 7
    folder.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=5000) | st.integers().map(lambda number: str(number).encode()))
def test_arbitrary_bytes_are_a_number_or_a_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value").write_bytes(content)
    folder = KeptFolder(str(tmp_path))
    reading = folder.number("value")
    if isinstance(reading, Unavailable):
        assert reading.reason
    else:
        assert abs(reading) < 10**20
        assert int(content.strip(b"\0 \t\r\n")) == reading
    folder.close()
