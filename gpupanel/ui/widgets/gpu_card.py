"""One GPU at a glance: who it is, what it is doing, six numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import time

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QGridLayout, QHBoxLayout

from gpupanel.model.gpu import GpuInfo, GpuKind, GpuState, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY, QT_TRANSLATE_NOOP
from gpupanel.ui import format as fmt
from gpupanel.ui.runs import LiveRun, Phase, info_of
from gpupanel.ui.store import POINTS, Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.chart import nice_top
from gpupanel.ui.widgets.metric_tile import MetricTile
from gpupanel.ui.widgets.text import ElidedText, Text

_LOW = 40
AT_REST = {"idle", "clock_setting", "display"}
"""Of LIMITS: nothing that holds a busy card back unasked."""

translate = QCoreApplication.translate


@dataclass(frozen=True, slots=True)
class TileSpec:
    """One tile of a card.

    Attributes:
        key: Of METRICS.
        label: Overrides the metric's label, which is too long or too general here.
        of_key: Metric that the value is a part of; also the limit line unless it is the top.
        top: Top of the scale; None: ``of_key``, else what the GPU states, else the maximum seen.
    """

    key: str
    label: str
    of_key: str | None = None
    top: float | None = None


TILES: tuple[TileSpec, ...] = (
    TileSpec("utilization_gpu_percent", QT_TRANSLATE_NOOP("Tiles", "Utilization"), top=100),
    TileSpec("power_draw_w", QT_TRANSLATE_NOOP("Tiles", "Power draw"), "power_limit_w"),
    TileSpec("temperature_gpu_c", QT_TRANSLATE_NOOP("Tiles", "Temperature"), top=110),
    TileSpec("memory_used_bytes", QT_TRANSLATE_NOOP("Tiles", "Memory used"), "memory_total_bytes"),
    TileSpec("clock_graphics_mhz", QT_TRANSLATE_NOOP("Tiles", "Graphics clock")),
    TileSpec("fan_speed_percent", QT_TRANSLATE_NOOP("Tiles", "Fan speed"), top=100),
)


class GpuCard(Card):
    """Fed from the store on each refresh; holds no readings of its own."""

    def __init__(self, gpu: GpuInfo, store: Store, *, large: bool = False) -> None:
        """``large``: two rows of tall tiles, where this is the only card."""
        super().__init__()
        self._gpu = gpu
        self._store = store
        self._state = Text(tone=Tone.WARN, size_px=SMALL_PX)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(Text(gpu.name, size_px=14, bold=True))
        identity = ElidedText(self._identity(), tone=Tone.SECONDARY, size_px=SMALL_PX)
        identity.setAccessibleDescription(gpu.id)
        head.addWidget(identity, 1)
        head.addWidget(self._state)
        self.body.addLayout(head)
        self._tiles = [self._make_tile(spec) for spec in TILES]
        columns = 3 if large else len(TILES)
        grid = QGridLayout()
        grid.setHorizontalSpacing(24 if large else 12)
        grid.setVerticalSpacing(12)
        for index, tile in enumerate(self._tiles):
            tile.make_large() if large else tile.sparkline.setMinimumHeight(_LOW)
            grid.addWidget(tile, index // columns, index % columns)
            grid.setColumnStretch(index % columns, 1)
        self.body.addLayout(grid)
        self.body.setSpacing(4)
        self.body.setContentsMargins(12, 12, 12, 8)
        head.setContentsMargins(4, 0, 4, 0)
        self.setAccessibleName(gpu.name)

    def refresh(self) -> None:
        """Show what the store knows now."""
        for spec, tile in zip(TILES, self._tiles, strict=True):
            self._refresh_tile(spec, tile)
        told = [one for one in (self._activity(), self._held()) if one is not None]
        told = told or [self._condition() or ("", Tone.SECONDARY)]
        self._state.set_text(" · ".join(text for text, _ in told))
        self._state.set_tone(told[-1][1])

    def _make_tile(self, spec: TileSpec) -> MetricTile:
        metric = METRIC_BY_KEY[spec.key]
        return MetricTile(
            translate("Tiles", spec.label), metric.unit, translate("Metrics", metric.help), POINTS
        )

    def _refresh_tile(self, spec: TileSpec, tile: MetricTile) -> None:
        reading = self._store.reading(self._gpu.id, spec.key)
        series = self._store.series(self._gpu.id, spec.key)
        whole = self._whole(spec)
        limit = self._limit(spec, whole)
        tile.show_reading(reading, series, self._top(spec, series, whole, limit), limit, whole)

    def _whole(self, spec: TileSpec) -> float | None:
        """What the value is a part of, if anything is known of it."""
        if spec.of_key is None:
            return None
        whole = self._store.reading(self._gpu.id, spec.of_key)
        if not isinstance(whole, Unavailable):
            return whole
        if spec.of_key == "memory_total_bytes":
            return self._gpu.memory_total_bytes
        return self._gpu.limits.get(spec.of_key)

    def _limit(self, spec: TileSpec, whole: float | None) -> float | None:
        """Where the dashed line goes; a full memory is the top of its scale already."""
        if spec.key == "memory_used_bytes":
            return None
        return whole if whole is not None else self._gpu.limits.get(spec.key)

    def _top(
        self,
        spec: TileSpec,
        series: Sequence[float | None],
        whole: float | None,
        limit: float | None,
    ) -> float:
        if spec.top is not None:
            return spec.top
        if limit is None and whole is not None:
            return whole
        seen = max((value for value in series if value is not None), default=0.0)
        return nice_top(max(limit or 0.0, seen))

    def _identity(self) -> str:
        gpu = self._gpu
        parts = [] if gpu.kind is GpuKind.GPU else [self.tr("Processor")]
        if gpu.pci_bus_id:
            parts.append(self.tr("PCI {0}").format(fmt.pci_bus_id(gpu.pci_bus_id)))
        if gpu.driver_version:
            parts.append(self.tr("driver {0}").format(gpu.driver_version))
        if not gpu.id.startswith("pci:"):  # that id says the address once more
            parts.append(gpu.id if len(gpu.id) <= 8 else f"{gpu.id[:12]}…")
        return " · ".join(parts)

    def _activity(self) -> tuple[str, Tone] | None:
        """What this window's runs do to this GPU."""
        at_work = self._store.runs.on(self._gpu.id)
        if len(at_work) > 1:
            return self.tr("{0} loads running").format(len(at_work)), Tone.ACCENT
        return self._activity_of(at_work[0]) if at_work else None

    def _activity_of(self, live: LiveRun) -> tuple[str, Tone]:
        assert live.run is not None
        workload = info_of(live.run.workload)
        family = fmt.family_name(workload.family)
        if live.phase is Phase.PREPARING:
            return self.tr("{0} · preparing").format(family), Tone.SECONDARY
        if live.run.cap_percent < 100:
            cap = fmt.percent(live.run.cap_percent)
            return self.tr("{0} · capped at {1} by policy").format(family, cap), Tone.WARN
        return self.tr("{0} · {1} running").format(family, workload.title), Tone.ACCENT

    def _held(self) -> tuple[str, Tone] | None:
        """Who is held on this GPU, or would be."""
        holds = self._store.holds.on(self._gpu.id)
        if not holds:
            return None
        from gpupanel.ui.widgets.holds import words  # seldom, and never before the first frame

        now_s = time()
        first, *others = holds
        text = words.in_short(first, now_s)
        if others:
            text = self.tr("{0} and {1} more").format(text, len(others))
        return text, words.tone(first, now_s)

    def _condition(self) -> tuple[str, Tone] | None:
        """Asleep, lost, or held down by something that a person should know of."""
        sample = self._store.sample(self._gpu.id)
        if sample is None:
            return None
        since = sample.state_since_unix_s
        if sample.state is GpuState.ASLEEP:
            text = self.tr("Asleep since {0}").format(fmt.time_of_day(since)) if since else ""
            return text or self.tr("Asleep"), Tone.SECONDARY
        if sample.state is GpuState.LOST:
            text = self.tr("Lost since {0}").format(fmt.time_of_day(since)) if since else ""
            return text or self.tr("Lost"), Tone.ERROR
        if isinstance(sample.limited_by, Unavailable):
            return None
        shown = [LIMIT_BY_NAME[name] for name in sample.limited_by if name not in AT_REST]
        if not shown:
            return None
        words = ", ".join(translate("Limits", limit.label) for limit in shown)
        is_fault = any(limit.is_fault for limit in shown)
        return self.tr("Limited by: {0}").format(words), Tone.WARN if is_fault else Tone.SECONDARY
