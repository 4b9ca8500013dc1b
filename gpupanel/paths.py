"""Where data, configuration, state and logs live; the only user of appdirs.

Machine locations are constants: whoever controls the environment must not steer the service.
User locations follow the desktop's rules (XDG on Linux, known folders on Windows).
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_APP = "gpupanel"


def data_dir(name: str) -> Path:
    """``kernels`` or ``resources``: beside the package in a wheel, one level up in a checkout.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    for base in (_PACKAGE / name, _PACKAGE.parent / name):
        if base.is_dir():
            return base
    raise FileNotFoundError(f"{name}/ is missing beside {_PACKAGE}: reinstall gpupanel")


def machine_policy_dirs() -> tuple[Path, ...]:
    """Directories of admin policy files, strongest first. Constants, never from the environment."""
    if sys.platform == "win32":
        return (Path(_windows_program_data()) / _APP / "policy.d",)
    return (
        Path("/etc/gpupanel/policy.d"),
        Path("/run/gpupanel/policy.d"),
        Path("/usr/lib/gpupanel/policy.d"),
    )


def user_policy_file() -> Path:
    """The user's own wishes; they can only tighten what the machine says."""
    import appdirs

    return Path(appdirs.user_config_dir(_APP, appauthor=False)) / "policy.toml"


def user_state_dir() -> Path:
    """What this user's gpupanel remembers: last good policy, window geometry."""
    import appdirs

    return Path(appdirs.user_state_dir(_APP, appauthor=False))


def user_cache_dir() -> Path:
    """What can be made again: light caches, built programs."""
    import appdirs

    return Path(appdirs.user_cache_dir(_APP, appauthor=False))


def _windows_program_data() -> str:
    """FOLDERID_ProgramData, asked of the shell and not of the environment."""
    assert sys.platform == "win32"
    import ctypes
    from ctypes import wintypes

    csidl_common_appdata = 0x23
    buffer = ctypes.create_unicode_buffer(wintypes.MAX_PATH)
    result = ctypes.windll.shell32.SHGetFolderPathW(None, csidl_common_appdata, None, 0, buffer)
    if result != 0:
        raise OSError(result, "Windows does not tell where ProgramData is")
    return buffer.value
