"""The mining loads. Imports nothing of OpenCL."""

from __future__ import annotations

from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

LOADS: tuple[WorkloadInfo, ...] = (
    WorkloadInfo(
        name="mining.ethash",
        family=Family.MINING,
        title="Ethash",
        summary="Ethereum's proof of work: random 128-byte reads all over a large table.",
        unit="hash",
        kernel="mining_ethash.cl",
        host="gpupanel.stress.mining.ethash:Ethash",
        knobs=(
            Knob("epoch", 0, 0, 0, 2047, "Epoch whose table is used; epoch 0 is 1 GiB."),
            Knob(
                "dag_mib", 0, 64, 0, 32768,
                "Reduce the table to its first MiB, for small devices; 0 is the whole epoch.",
            ),
        ),
        probe_knobs={"epoch": 0, "dag_mib": 64},
    ),
    WorkloadInfo(
        name="mining.kawpow",
        family=Family.MINING,
        title="KawPoW",
        summary="Ravencoin's proof of work: a random program that changes, and large random reads.",
        unit="hash",
        kernel="mining_kawpow.cl",
        host="gpupanel.stress.mining.kawpow:Kawpow",
        knobs=(
            Knob("epoch", 0, 0, 0, 2047, "Epoch whose table is used; epoch 0 is 1 GiB."),
            Knob(
                "dag_mib", 0, 64, 0, 32768,
                "Reduce the table to its first MiB, for small devices; 0 is the whole epoch.",
            ),
            Knob(
                "program_seconds", 20, 20, 1, 3600,
                "Seconds until the next random program; on the network it is some 180.",
            ),
        ),
        readings=(
            Reading("block_height", "Block", "", "Height of the made-up chain."),
            Reading("programs", "Programs", "", "Random programs that the run has used."),
            Reading(
                "compile_s", "Compile time", "s",
                "What the present program took to compile, beside the one before it.",
            ),
        ),
    ),
    WorkloadInfo(
        name="mining.sha256d",
        family=Family.MINING,
        title="SHA-256d",
        summary="Bitcoin's proof of work: 32-bit integer arithmetic and nothing else.",
        unit="hash",
        kernel="mining_sha256d.cl",
        host="gpupanel.stress.mining.sha256d:Sha256d",
    ),
    WorkloadInfo(
        name="mining.kheavyhash",
        family=Family.MINING,
        title="kHeavyHash",
        summary="Kaspa's proof of work: Keccak, and a product with a matrix of small integers.",
        unit="hash",
        kernel="mining_kheavyhash.cl",
        host="gpupanel.stress.mining.kheavyhash:KHeavyHash",
    ),
    WorkloadInfo(
        name="mining.autolykos2",
        family=Family.MINING,
        title="Autolykos 2",
        summary="Ergo's proof of work: random 32-byte reads all over a large table.",
        unit="hash",
        kernel="mining_autolykos2.cl",
        host="gpupanel.stress.mining.autolykos2:Autolykos2",
        knobs=(
            Knob(
                "height", 614400, 614400, 0, 41984000,
                "Height of the block whose table is used; from 2 GiB below 614400 to 64 GiB.",
            ),
            Knob(
                "table_log2", 0, 21, 0, 26,
                "Reduce the table to two to this power elements; 0 is all of the height.",
                choices=(0, *range(20, 27)),
            ),
        ),
    ),
)  # fmt: skip
