"""gpu_metrics: documented values, the offsets as C lays them out, and arbitrary bytes."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.linux.gpu_metrics import GpuMetrics, parse_gpu_metrics
from gpupanel.model.gpu import Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME

RECORDINGS = Path(__file__).parents[1] / "recordings" / "sysfs"

_HEAD = "size:H format:B content:B "
_T1 = "edge:H hotspot:H mem:H vrgfx:H vrsoc:H vrmem:H gfx:H umc:H mm:H power:H "
_C1 = (
    "a_gfxclk:H a_socclk:H a_uclk:H a_vclk0:H a_dclk0:H a_vclk1:H a_dclk1:H gfxclk:H socclk:H "
    "uclk:H vclk0:H dclk0:H vclk1:H dclk1:H own_bits:I fan:H "
)
_V11 = (
    f"{_HEAD}{_T1}energy:Q clock:Q {_C1}width:H speed:H pad:H gfx_acc:I mem_acc:I hbm:H*4 "
)  # fmt: skip
_T2 = "edge:H soc:H core:H*8 l3:H*2 gfx:H mm:H "
_P2 = (
    "power:H cpu_w:H soc_w:H gfx_w:H core_w:H*8 a_gfxclk:H a_socclk:H a_uclk:H a_fclk:H a_vclk:H "
    "a_dclk:H gfxclk:H socclk:H uclk:H fclk:H vclk:H dclk:H coreclk:H*8 l3clk:H*2 own_bits:I fan:H "
)
_V21 = f"{_HEAD}{_T2}clock:Q {_P2}pad:H*3 "
_V23 = f"{_V21}bits:Q a_edge:H a_soc:H a_core:H*8 a_l3:H*2 "
_V14 = (
    f"{_HEAD}hotspot:H mem:H vrsoc:H power:H gfx:H umc:H mm:H*4 energy:Q clock:Q own_bits:I lock:I "
    "width:H speed:H xw:H xs:H gfx_acc:I mem_acc:I bw:Q bwi:Q l0:Q rep:Q rov:Q xr:Q*8 xwr:Q*8 "
    "stamp:Q gfxclk:H*8 socclk:H*4 vclk0:H*4 dclk0:H*4 uclk:H pad:H "
)
_V30 = (
    f"{_HEAD}edge:H soc:H core:H*16 skin:H gfx:H mm:H ipu:H*8 c0:H*16 dr:H dw:H ir:H iw:H clock:Q "
    "power:I ipu_w:H apu_w:I gfx_w:I dgpu_w:I cpu_w:I core_w:H*16 sys_w:H stapm:H stapm_now:H "
    "gfxclk:H socclk:H vpe:H ipuclk:H fclk:H vclk:H uclk:H mpipu:H coreclk:H*16 core_max:H "
    "gfx_max:H r_prochot:I r_spl:I r_fppt:I r_sppt:I r_core:I r_gfx:I r_soc:I alpha:I "
)

STRUCTURES = {
    (1, 0): f"{_HEAD}clock:Q {_T1}energy:I {_C1}width:B speed:B ",
    (1, 1): _V11,
    (1, 2): f"{_V11}stamp:Q ",
    (1, 3): f"{_V11}stamp:Q v_soc:H v_gfx:H v_mem:H pad1:H bits:Q ",
    (1, 4): _V14,
    (2, 0): f"{_HEAD}clock:Q {_T2}{_P2}pad:H ",
    (2, 1): _V21,
    (2, 2): f"{_V21}bits:Q ",
    (2, 3): _V23,
    (2, 4): f"{_V23}v_cpu:H v_soc:H v_gfx:H i_cpu:H i_soc:H i_gfx:H ",
    (3, 0): _V30,
}
"""The kernel's structures, member by member; ctypes lays them out as C does."""

_TYPES = {
    "B": ctypes.c_uint8,
    "H": ctypes.c_uint16,
    "I": ctypes.c_uint32,
    "Q": ctypes.c_uint64,
}

_OURS = {
    "edge": "temperature_gpu_c",
    "hotspot": "temperature_hotspot_c",
    "mem": "temperature_memory_c",
    "soc": "temperature_soc_c",
    "gfx": "utilization_gpu_percent",
    "umc": "utilization_memory_percent",
    "mm": "utilization_decoder_percent",
    "power": "power_draw_w",
    "cpu_w": "power_processor_w",
    "gfx_w": "power_graphics_w",
    "gfxclk": "clock_graphics_mhz",
    "uclk": "clock_memory_mhz",
    "v_gfx": "voltage_mv",
}


def _structure(version: tuple[int, int]) -> Any:
    members = []
    for word in STRUCTURES[version].split():
        name, _, kind = word.partition(":")
        code, _, count = kind.partition("*")
        members.append((name, _TYPES[code] * int(count) if count else _TYPES[code]))
    made: Any = type("Table", (ctypes.LittleEndianStructure,), {"_fields_": members})
    return made


def _table(version: tuple[int, int], **members: int) -> bytes:
    """A table in which every other member is invalid."""
    cls = _structure(version)
    table = cls.from_buffer_copy(b"\xff" * ctypes.sizeof(cls))
    table.size, table.format, table.content = ctypes.sizeof(cls), *version
    for name, value in members.items():
        member = getattr(table, name)
        if isinstance(member, int):
            setattr(table, name, value)
        else:
            member[0] = value
    return bytes(table)


def _parsed(table: bytes) -> GpuMetrics:
    metrics = parse_gpu_metrics(table)
    assert isinstance(metrics, GpuMetrics)
    return metrics


@pytest.mark.parametrize("version", STRUCTURES)
@pytest.mark.parametrize("name", _OURS)
def test_each_value_is_where_c_puts_it(version: tuple[int, int], name: str) -> None:
    if name not in [word.partition(":")[0] for word in STRUCTURES[version].split()]:
        assert _OURS[name] not in _parsed(_table(version)).values
        return
    key = _OURS[name]
    divisor = 1.0
    if version[0] > 1:
        divisor = 100 if key.startswith("temp") else 1000 if key.startswith("power") else 1
    if version == (2, 4) and key.startswith("util"):
        divisor = 100
    assert _parsed(_table(version, **{name: 77})).values == {key: 77 / divisor}


@pytest.mark.parametrize("version", STRUCTURES)
def test_all_ones_are_no_values(version: tuple[int, int]) -> None:
    metrics = _parsed(_table(version))
    assert metrics.values == {}
    assert isinstance(metrics.limited_by, Unavailable)


@pytest.mark.parametrize("version", STRUCTURES)
def test_a_table_that_is_cut_short_is_none(version: tuple[int, int]) -> None:
    whole = _table(version)
    assert isinstance(parse_gpu_metrics(whole[:-1]), Unavailable)
    assert _parsed(whole + bytes(4096)) == _parsed(whole)


def test_the_energy_of_an_accelerator_is_in_its_documented_unit() -> None:
    assert _parsed(_table((1, 4), energy=2**17)).values == {"energy_j": 2.0}
    # The recorded 6900 XT would have drawn 0.5 W for nine minutes in that unit.
    assert _parsed(_table((1, 3), energy=2**17)).values == {}


@pytest.mark.parametrize(
    ("bit", "reason"),
    [
        (0, "power_cap"), (5, "power_cap"), (7, "power_cap"), (16, "current"), (23, "current"),
        (32, "thermal"), (36, "thermal"), (47, "thermal"), (56, "other"), (57, "other"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [(1, 3), (2, 2), (2, 3), (2, 4)])
def test_bits_have_names(version: tuple[int, int], bit: int, reason: str) -> None:
    assert _parsed(_table(version, bits=1 << bit)).limited_by == (reason,)


def test_reserved_bits_mean_nothing() -> None:
    reserved = sum(1 << bit for bit in [*range(8, 16), *range(24, 32), *range(48, 56)])
    assert _parsed(_table((1, 3), bits=reserved)).limited_by == ()


def test_the_false_bit_of_rdna3_is_masked_and_no_other() -> None:
    table = _table((1, 3), bits=1 << 36)
    assert _parsed(table).limited_by == ("thermal",)
    masked = parse_gpu_metrics(table, has_false_hotspot_bit=True)
    assert isinstance(masked, GpuMetrics)
    assert masked.limited_by == ()
    both = parse_gpu_metrics(_table((1, 3), bits=3 << 36), has_false_hotspot_bit=True)
    assert isinstance(both, GpuMetrics)
    assert both.limited_by == ("thermal",)


@pytest.mark.parametrize("version", [(1, 0), (1, 1), (1, 2), (1, 4), (2, 0), (2, 1)])
def test_bits_of_one_chip_are_told_as_other(version: tuple[int, int]) -> None:
    assert _parsed(_table(version, own_bits=0)).limited_by == ()
    assert _parsed(_table(version, own_bits=6)).limited_by == ("other",)


def test_strix_counts_instead() -> None:
    names = ("r_prochot", "r_core", "r_gfx", "r_soc", "r_spl", "r_fppt", "r_sppt")
    counts = _parsed(_table((3, 0), **{name: 10**n for n, name in enumerate(names)})).limit_counts
    assert counts == {"thermal": 1111, "power_cap": 1110000}


def test_mangohuds_tables_hold_what_its_tests_expect() -> None:
    # tests/test_amdgpu.cpp of MangoHud at 19acc0fc; it cuts temperatures to whole degrees.
    discrete = _parsed((RECORDINGS / "mangohud-gpu_metrics.bin").read_bytes())
    assert discrete.values["utilization_gpu_percent"] == 64
    assert discrete.values["power_draw_w"] == 33
    assert discrete.values["clock_graphics_mhz"] == 2165
    assert discrete.values["clock_memory_mhz"] == 1000
    assert discrete.values["temperature_gpu_c"] == 36
    assert discrete.limited_by == ()
    integrated = _parsed((RECORDINGS / "mangohud-gpu_metrics_apu.bin").read_bytes())
    assert integrated.values["utilization_gpu_percent"] == 100
    assert integrated.values["power_graphics_w"] == pytest.approx(6.161)
    assert integrated.values["power_processor_w"] == pytest.approx(9.235)
    assert integrated.values["clock_graphics_mhz"] == 1040
    assert integrated.values["clock_memory_mhz"] == 687
    assert int(integrated.values["temperature_gpu_c"]) == 81
    assert int(integrated.values["temperature_soc_c"]) == 71
    assert integrated.limited_by == ("power_cap",)
    invalid = parse_gpu_metrics((RECORDINGS / "mangohud-gpu_metrics_invalid.bin").read_bytes())
    assert isinstance(invalid, Unavailable)


def test_strix_agrees_with_lact(
    recorded_card: Callable[[str], Path], expected_of: Callable[[str], dict[str, Any]]
) -> None:
    table = (recorded_card("amd-strixpoint") / "card1/device/gpu_metrics").read_bytes()
    values = _parsed(table).values
    watts = expected_of("amd-strixpoint")["stats"]["power"]["sensors"]
    assert values["power_draw_w"] == pytest.approx(watts["apu"])
    assert values["power_graphics_w"] == pytest.approx(watts["gfx"])
    assert values["power_processor_w"] == pytest.approx(watts["core"])


def _is_sound(parsed: GpuMetrics | Unavailable) -> bool:
    if isinstance(parsed, Unavailable):
        return bool(parsed.reason)
    limits = () if isinstance(parsed.limited_by, Unavailable) else parsed.limited_by
    return {*limits, *parsed.limit_counts} <= set(LIMIT_BY_NAME)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_give_a_table_or_a_reason(table: bytes) -> None:
    assert _is_sound(parse_gpu_metrics(table))


@given(st.sampled_from(sorted(STRUCTURES)), st.binary(min_size=300, max_size=400), st.booleans())
def test_arbitrary_tables_give_values_or_a_reason(
    version: tuple[int, int], body: bytes, has_false_bit: bool
) -> None:
    assert _is_sound(parse_gpu_metrics(struct.pack("<HBB", 300, *version) + body, has_false_bit))
