"""WORKLOADS, the one list of loads: what the window and the command line show.

Imports nothing of OpenCL; the host sides are named as text and imported by the worker.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.errors import WorkloadError
from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

_SCREEN_HEIGHTS = (90, 180, 360, 720, 1080, 1440, 2160)
_PASSES = (
    ("tick", "CPU tick", "Moving the scene on the processor"),
    ("upload", "Upload", "Copying what moved to the device, beside other work"),
    ("sort", "Sorting", "Finding out which objects may show in which tile"),
    ("shadow", "Shadow map", "The scene as the sun sees it"),
    ("raster", "G-buffer", "Depth, normal, material and motion of every pixel"),
    ("occlude", "Ambient occlusion", "How much of the sky each point sees"),
    ("shade", "Shading", "Light of sun, lamps and sky on textured materials"),
    ("resolve", "Anti-aliasing", "This frame and those before it, blended where they belong"),
    ("glow", "Bloom", "The halo of what is too bright"),
    ("develop", "Tone mapping", "From light to what a screen shows"),
)

_PACING = (
    Reading("frame_time_p50_ms", "Frame time", "ms", "Half of the frames are faster."),
    Reading("frame_time_p99_ms", "Frame time, 99 %", "ms", "99 % of the frames are faster."),
    Reading(
        "fps_1_percent_low_percentile", "1 % low (percentile)", "fps",
        "The rate of the frame time that 1 % of the frames exceed.",
    ),
    Reading(
        "fps_1_percent_low_mean", "1 % low (mean)", "fps",
        "The mean rate of the slowest 1 % of the frames.",
    ),
    Reading(
        "cpu_wait_percent", "Waiting for the CPU", "%",
        "Share of a frame in which the device had nothing to do.",
    ),
)  # fmt: skip


def _pass(key: str, title: str, does: str) -> Reading:
    return Reading(f"{key}_ms", title, "ms", f"{does}; one of eight frames is measured.")


GEMM_KNOBS = (Knob("size", 4096, 1024, 256, 16384, "Rows and columns of the square matrices."),)

ROWS_KNOBS = (
    Knob("rows", 16384, 4096, 16, 131072, "Rows; counted in whole blocks of 16."),
    Knob(
        "width", 4096, 4096, 1024, 16384, "Numbers per row.", (1024, 2048, 4096, 8192, 16384)
    ),
)  # fmt: skip

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
        probe_knobs={"width": 640, "height": 360},
    ),
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
        name="gaming.frame",
        family=Family.GAMING,
        title="Game frame",
        summary="A deferred renderer: 2048 moving objects, shadows, bloom, anti-aliasing.",
        unit="frame",
        kernel="gaming_frame.cl",
        host="gpupanel.stress.gaming.sculpture.frame:Frame",
        knobs=(
            Knob(
                "height", 1080, 360, 90, 2160,
                "Height of the frame in pixels; the width follows, 16 to 9.", _SCREEN_HEIGHTS,
            ),
        ),
        readings=(*_PACING, *(_pass(*each) for each in _PASSES)),
    ),
    WorkloadInfo(
        name="gaming.pathtrace",
        family=Family.GAMING,
        title="Path tracing",
        summary="The scene of the game frame by following light: what ray tracing cores replace.",
        unit="frame",
        kernel="gaming_pathtrace.cl",
        host="gpupanel.stress.gaming.sculpture.pathtrace:Pathtrace",
        knobs=(
            Knob(
                "height", 1080, 360, 90, 2160,
                "Height of the frame in pixels; the width follows, 16 to 9.", _SCREEN_HEIGHTS,
            ),
            Knob("paths", 1, 1, 1, 4, "Paths per pixel and frame."),
            Knob("bounces", 3, 3, 1, 8, "How often a path may bounce."),
        ),
        readings=(
            *_PACING,
            *(_pass(*each) for each in _PASSES if each[0] in ("tick", "upload")),
            _pass("trace", "Tracing", "Following the paths"),
            *(_pass(*each) for each in _PASSES if each[0] in ("glow", "develop")),
        ),
    ),
)  # fmt: skip

WORKLOAD_BY_NAME: Mapping[str, WorkloadInfo] = {workload.name: workload for workload in WORKLOADS}


def choose_knobs(info: WorkloadInfo, asked: Mapping[str, int], *, is_cpu: bool) -> dict[str, int]:
    """All knobs of a load: what was asked, else the default of this kind of device.

    Raises:
        WorkloadError: A knob is unknown or out of its bounds.
    """
    known = {knob.name: knob for knob in info.knobs}
    for name, value in asked.items():
        if name not in known:
            raise WorkloadError(f"{info.name} has no knob {name}; it has {', '.join(known)}")
        knob = known[name]
        if not knob.low <= value <= knob.high:
            raise WorkloadError(f"{info.name}: {name}={value} is outside {knob.low} to {knob.high}")
        if knob.choices and value not in knob.choices:
            choices = ", ".join(map(str, knob.choices))
            raise WorkloadError(f"{info.name}: {name}={value} is none of {choices}")
    defaults = {knob.name: knob.default_cpu if is_cpu else knob.default for knob in info.knobs}
    return {**defaults, **asked}
