"""Where data, configuration, state and logs live; the only user of appdirs.

Machine locations are constants: whoever controls the environment must not steer the service.
User locations follow the desktop's rules (XDG on Linux, known folders on Windows).
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_APP = "gpupanel"
_JOURNAL = "held.jsonl"


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
    return tuple(base / "policy.d" for base in _machine_bases())


def machine_run_dir() -> Path:
    """The service's sockets, and what lives until the next boot. Constant, like the two below."""
    return _machine_dir("run")


def machine_state_dir() -> Path:
    """What the service remembers: last good policy, history, what users said."""
    return _machine_dir("state")


def machine_log_dir() -> Path:
    """The audit log."""
    return _machine_dir("log")


def machine_journal_file() -> Path:
    """What the service holds now, for whoever lets go of it after a crash.

    In memory: no disk that is full or slow keeps the service from holding, or holds it up.
    """
    return machine_run_dir() / _JOURNAL


def user_policy_file() -> Path:
    """The user's own wishes; they can only tighten what the machine says."""
    import appdirs

    return Path(appdirs.user_config_dir(_APP, appauthor=False)) / "policy.toml"


def user_state_dir() -> Path:
    """What this user's gpupanel remembers: last good policy, window geometry."""
    import appdirs

    return Path(appdirs.user_state_dir(_APP, appauthor=False))


def user_objections_file() -> Path:
    """The programs of which this user said that they do not mine."""
    return user_state_dir() / "not_mining.json"


def user_journal_file() -> Path:
    """What this user's agent holds now, for whoever lets go of it after a crash."""
    return user_state_dir() / _JOURNAL


def user_audit_dir() -> Path:
    """What this user's agent writes down: the audit log of the user's own processes."""
    return user_state_dir() / "audit"


def user_verdicts_files() -> tuple[Path, Path]:
    """Who mined while this user's agent looked, older and newer; ``policy simulate`` replays it."""
    return _verdicts_files(user_state_dir())


def machine_verdicts_files() -> tuple[Path, Path]:
    """The same of the service."""
    return _verdicts_files(machine_state_dir())


def _verdicts_files(folder: Path) -> tuple[Path, Path]:
    return folder / "verdicts.1.jsonl", folder / "verdicts.jsonl"


def user_data_dir() -> Path:
    """What this user's gpupanel keeps for good: the history of readings."""
    import appdirs

    return Path(appdirs.user_data_dir(_APP, appauthor=False))


def user_history_file() -> Path:
    """The database of readings, energy and events that the user's agent writes."""
    return user_data_dir() / "history.db"


def user_cache_dir() -> Path:
    """What can be made again: light caches, built programs."""
    import appdirs

    return Path(appdirs.user_cache_dir(_APP, appauthor=False))


if sys.platform == "win32":

    def _machine_bases() -> tuple[Path, ...]:
        """ProgramData, asked of the shell and not of the environment."""
        import ctypes
        from ctypes import wintypes

        csidl_common_appdata = 0x23
        folder = ctypes.create_unicode_buffer(wintypes.MAX_PATH)
        error = ctypes.windll.shell32.SHGetFolderPathW(None, csidl_common_appdata, None, 0, folder)
        if error != 0:
            raise OSError(error, "Windows does not tell where ProgramData is")
        return (Path(folder.value) / _APP,)

    def _machine_dir(kind: str) -> Path:
        return _machine_bases()[0] / kind

else:
    _MACHINE_PARENTS = {"run": "/run", "state": "/var/lib", "log": "/var/log"}

    def _machine_dir(kind: str) -> Path:
        return Path(_MACHINE_PARENTS[kind], _APP)

    def _machine_bases() -> tuple[Path, ...]:
        """Systemd's order: the admin, then what lives until reboot, then the vendor."""
        return tuple(Path(base, _APP) for base in ("/etc", "/run", "/usr/lib"))
