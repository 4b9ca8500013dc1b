"""WORKLOADS, the one list of loads: what the window and the command line show.

Imports nothing of OpenCL; the host sides are named as text and imported by the worker.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

WORKLOADS: tuple[WorkloadInfo, ...] = (
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
        name="ai.gemm",
        family=Family.AI,
        title="Matrix product",
        summary="The product at the core of every neural network: fp32, tiled and vectorised.",
        unit="flop",
        kernel="ai_gemm.cl",
        host="gpupanel.stress.ai.gemm:Gemm",
        knobs=(Knob("size", 4096, 1024, 256, 16384, "Rows and columns of the square matrices."),),
    ),
    WorkloadInfo(
        name="gaming.raymarch",
        family=Family.GAMING,
        title="Ray-marched scene",
        summary="A lit, textured scene, one frame after another.",
        unit="frame",
        kernel="gaming_raymarch.cl",
        host="gpupanel.stress.gaming.raymarch:Raymarch",
        knobs=(
            Knob("width", 1920, 640, 160, 3840, "Width of the frame in pixels."),
            Knob("height", 1080, 360, 90, 2160, "Height of the frame in pixels."),
        ),
    ),
)  # fmt: skip

WORKLOAD_BY_NAME: Mapping[str, WorkloadInfo] = {workload.name: workload for workload in WORKLOADS}
