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
    WorkloadInfo(
        name="diagnostics.latency",
        family=Family.DIAGNOSTICS,
        title="Latency and transfers",
        summary="How long a launch takes, and data on its way to the device and back.",
        unit="launch",
        kernel="diagnostics_latency.cl",
        host="gpupanel.stress.diagnostics.latency:Latency",
        knobs=(Knob("transfer_mib", 16, 8, 1, 256, "Size of the large transfers."),),
        readings=(
            Reading("launch_p50_us", "Launch", "µs", "Median from the call to its end."),
            Reading("launch_p99_us", "Launch p99", "µs", "99 of 100 launches are quicker."),
            Reading("upload_p50_us", "Upload", "µs", "Median of 4096 bytes to the device."),
            Reading("upload_p99_us", "Upload p99", "µs", "99 of 100 uploads are quicker."),
            Reading("download_p50_us", "Download", "µs", "Median of 4096 bytes back."),
            Reading("download_p99_us", "Download p99", "µs", "99 of 100 downloads are quicker."),
            Reading("upload_p50_gb_per_s", "Upload rate", "GB/s", "Median of large uploads."),
            Reading("upload_p99_gb_per_s", "Upload rate p99", "GB/s", "99 of 100 are faster."),
            Reading("download_p50_gb_per_s", "Download rate", "GB/s", "Median of large downloads."),
            Reading("download_p99_gb_per_s", "Download rate p99", "GB/s", "99 of 100 are faster."),
        ),
    ),
)  # fmt: skip
