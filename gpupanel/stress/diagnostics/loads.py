"""What looks for faults in the device instead of emulating a program. Imports nothing of OpenCL."""

from __future__ import annotations

from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

LOADS: tuple[WorkloadInfo, ...] = (
    WorkloadInfo(
        name="diagnostics.memory",
        family=Family.DIAGNOSTICS,
        title="Memory test",
        summary="Patterns all over the device's memory, to find bits that flip.",
        unit="byte",
        kernel="diagnostics_memory.cl",
        host="gpupanel.stress.diagnostics.memory:MemoryTest",
        knobs=(
            Knob(
                "share_percent", 90, 10, 1, 100,
                "Memory to test, as a percentage of what the device has left.",
            ),
            Knob(
                "fade_s", 15, 15, 0, 300,
                "Seconds for which one half rests and must keep its bits; 0 leaves this out.",
            ),
        ),
        readings=(
            Reading("rounds", "Rounds", "", "Rounds of all tests that were finished."),
            Reading("faulty_words", "Faulty words", "", "Words of 32 bits that were not right."),
            Reading(
                "bit_positions", "Bit positions", "",
                "Different bits of a word that flipped: one points to a line, many to heat.",
            ),
            Reading("bits_0_to_1", "Bits 0 to 1", "", "Bits that were 1 and had to be 0."),
            Reading("bits_1_to_0", "Bits 1 to 0", "", "Bits that were 0 and had to be 1."),
            Reading("lowest_fault_mib", "Lowest fault", "MiB", "From the start of what is tested."),
            Reading("highest_fault_mib", "Highest fault", "MiB", "As the lowest."),
        ),
        probe_knobs={"share_percent": 1, "fade_s": 0},
    ),
)  # fmt: skip
