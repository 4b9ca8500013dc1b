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
        name="ai.train",
        family=Family.AI,
        title="Training",
        summary="A small transformer that learns: forward, backward and Adam in fp32.",
        unit="token",
        kernel="ai_train.cl",
        host="gpupanel.stress.ai.train:Train",
        knobs=(
            Knob("width", 512, 128, 128, 1024, "Of the model.", (128, 256, 512, 1024)),
            Knob("heads", 8, 4, 2, 16, "Of attention, each 16, 32 or 64 wide.", (2, 4, 8, 16)),
            Knob(
                "ffn", 2048, 512, 256, 4096,
                "Width of the MLP's middle; at least twice the model's.",
                (256, 512, 1024, 2048, 4096),
            ),
            Knob("layers", 4, 2, 1, 4, "An attention and an MLP each."),
            Knob("sequence", 256, 64, 64, 256, "Tokens of a sequence.", (64, 128, 256)),
            Knob("batch", 4, 4, 4, 64, "Sequences per training step."),
        ),
        readings=(
            Reading("loss", "Loss", "", "Cross entropy of the last steps; 4.16 knows nothing."),
            Reading("gradient_norm", "Gradient norm", "", "Of the last step."),
            Reading("steps", "Steps", "", "Of training since the start."),
            Reading("tokens_per_step", "Tokens per step", "", "Sequences times their length."),
            Reading("learned_step", "Learned at step", "", "When the loss last fell below 0.5."),
        ),
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
