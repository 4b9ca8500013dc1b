"""The AI loads. Imports nothing of OpenCL."""

from __future__ import annotations

from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

GEMM_KNOBS = (Knob("size", 4096, 1024, 256, 16384, "Rows and columns of the square matrices."),)

ROWS_KNOBS = (
    Knob("rows", 16384, 4096, 16, 131072, "Rows; counted in whole blocks of 16."),
    Knob(
        "width", 4096, 4096, 1024, 16384, "Numbers per row.", (1024, 2048, 4096, 8192, 16384)
    ),
)  # fmt: skip

LOADS: tuple[WorkloadInfo, ...] = (
    WorkloadInfo(
        name="ai.gemm",
        family=Family.AI,
        title="Matrix product",
        summary="The product at the core of every neural network: fp32, tiled and vectorised.",
        unit="flop",
        kernel="ai_gemm.cl",
        host="gpupanel.stress.ai.gemm:Gemm",
        knobs=GEMM_KNOBS,
        probe_knobs={"size": 1024},
    ),
    WorkloadInfo(
        name="ai.gemm_fp16",
        family=Family.AI,
        title="Matrix product, fp16",
        summary="The product with operands in half the memory, added in fp32.",
        unit="flop",
        kernel="ai_gemm.cl",
        host="gpupanel.stress.ai.gemm:GemmFp16",
        knobs=GEMM_KNOBS,
        probe_knobs={"size": 1024},
    ),
    WorkloadInfo(
        name="ai.gemm_int8",
        family=Family.AI,
        title="Matrix product, int8",
        summary="The product of quantised networks: 8-bit integers, added in 32 bits.",
        unit="op",
        kernel="ai_gemm.cl",
        host="gpupanel.stress.ai.gemm:GemmInt8",
        knobs=GEMM_KNOBS,
        probe_knobs={"size": 1024},
    ),
    WorkloadInfo(
        name="ai.attention",
        family=Family.AI,
        title="Attention",
        summary="A language model reads a prompt: causal attention, scores never in memory.",
        unit="flop",
        kernel="ai_attention.cl",
        host="gpupanel.stress.ai.attention:Attention",
        knobs=(
            Knob("seq", 4096, 1024, 128, 16384, "Positions of the prompt."),
            Knob("heads", 32, 8, 1, 128, "Attention heads."),
            Knob("head_dim", 128, 64, 64, 128, "Numbers per head and position.", (64, 128)),
        ),
        probe_knobs={"seq": 1024, "heads": 8},
    ),
    WorkloadInfo(
        name="ai.decode",
        family=Family.AI,
        title="Token generation",
        summary="A language model writes: every weight is read once per token.",
        unit="token",
        kernel="ai_decode.cl",
        host="gpupanel.stress.ai.decode:Decode",
        knobs=(
            Knob("weight_bits", 16, 32, 4, 32, "Bits per weight.", (4, 8, 16, 32)),
            Knob(
                "hidden", 4096, 2048, 1024, 8192, "Numbers that stand for a token.",
                (1024, 2048, 4096, 8192),
            ),
            Knob(
                "ffn", 11008, 5632, 2816, 28672, "Numbers inside the feed-forward part.",
                (2816, 5632, 11008, 14336, 28672),
            ),
            Knob("layers", 2, 1, 1, 80, "Layers; drawing the weights takes a second each."),
            Knob("context", 256, 256, 16, 4096, "Tokens that attention looks back.",
                 (16, 256, 512, 1024, 2048, 4096)),
        ),
        probe_knobs={"hidden": 2048, "ffn": 5632, "layers": 1, "context": 256},
    ),
    WorkloadInfo(
        name="ai.layernorm",
        family=Family.AI,
        title="Layer normalisation",
        summary="Rows brought to mean 0 and variance 1; bound by memory.",
        unit="byte",
        kernel="ai_norm.cl",
        host="gpupanel.stress.ai.norm:LayerNorm",
        knobs=ROWS_KNOBS,
    ),
    WorkloadInfo(
        name="ai.rmsnorm",
        family=Family.AI,
        title="RMS normalisation",
        summary="Rows brought to a mean square of 1; bound by memory.",
        unit="byte",
        kernel="ai_norm.cl",
        host="gpupanel.stress.ai.norm:RmsNorm",
        knobs=ROWS_KNOBS,
    ),
    WorkloadInfo(
        name="ai.softmax",
        family=Family.AI,
        title="Softmax",
        summary="Rows turned into probabilities; bound by memory.",
        unit="byte",
        kernel="ai_norm.cl",
        host="gpupanel.stress.ai.norm:Softmax",
        knobs=ROWS_KNOBS,
    ),
    WorkloadInfo(
        name="ai.conv",
        family=Family.AI,
        title="Convolution 3 x 3",
        summary="The layer of networks that see: pictures with many channels, fp32.",
        unit="flop",
        kernel="ai_conv.cl",
        host="gpupanel.stress.ai.conv:Conv",
        knobs=(
            Knob(
                "size", 128, 64, 8, 256, "Rows and columns of the pictures.",
                (8, 32, 56, 64, 112, 128, 224, 256),
            ),
            Knob(
                "channels", 256, 64, 64, 512, "Channels of the pictures, in and out.",
                (64, 128, 256, 512),
            ),
            Knob("pictures", 8, 1, 1, 64, "Pictures convolved together."),
        ),
        probe_knobs={"size": 64, "channels": 64, "pictures": 1},
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
        probe_knobs={"width": 128, "heads": 4, "ffn": 512, "layers": 2, "sequence": 64, "batch": 4},
        readings=(
            Reading("loss", "Loss", "", "Cross entropy of the last steps; 4.16 knows nothing."),
            Reading("gradient_norm", "Gradient norm", "", "Of the last step."),
            Reading("steps", "Steps", "", "Of training since the start."),
            Reading("tokens_per_step", "Tokens per step", "", "Sequences times their length."),
            Reading("learned_step", "Learned at step", "", "When the loss last fell below 0.5."),
        ),
    ),
)  # fmt: skip
