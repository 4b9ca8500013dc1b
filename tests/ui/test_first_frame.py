"""What a cold start may load, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "pyqtgraph", "pyopencl", "pynvml", "psutil", "pydantic", "rich")
FIRST_FRAME = """
import sys
from gpupanel.ui.app import Panel, make_application
from gpupanel.ui.link import Link
from gpupanel.ui.theme import ThemeChoice
application = make_application(ThemeChoice.DARK)
panel = Panel(Link(["none"]), ThemeChoice.DARK)
panel.window.show()
application.processEvents()
image = panel.window.grab().toImage()
print(*sorted({image.pixelColor(x, 24).name() for x in range(image.width())}))
print(*sorted(sys.modules))
panel.close()
"""


def test_first_frame_is_drawn_without_anything_heavy() -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_FRAME],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    colours, modules = done.stdout.splitlines()
    loaded = {name.partition(".")[0] for name in modules.split()}
    assert len(colours.split()) > 10, "nothing was drawn"
    assert loaded & set(HEAVY) == set()
    assert "gpupanel.ui.pages.overview" in modules.split()
    assert "gpupanel.ui.pages.stress" not in modules.split()
    assert not any(name.startswith("gpupanel.backends") for name in modules.split())
