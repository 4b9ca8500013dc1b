"""The one entry: picks window, command line, agent, worker or service, and imports only that.

``gpupanel`` opens the window; its first argument may name another role, which is how this
installation starts its own children. ``gpupanelctl`` and ``gpupaneld`` are roles by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import gpupanel as package


def gpupanel() -> int:
    """Console script ``gpupanel``, and ``python -m gpupanel``."""
    arguments = sys.argv[1:]
    role = _ROLES.get(arguments[0]) if arguments else None
    if role is not None:
        return role(arguments[1:])
    if "--version" in arguments:
        sys.stdout.write(f"gpupanel {package.__version__}\n")
        return 0
    from gpupanel.ui.app import main

    return main(arguments)


def gpupanelctl() -> int:
    """Console script ``gpupanelctl``."""
    return _ctl(sys.argv[1:])


def gpupaneld() -> int:
    """Console script ``gpupaneld``."""
    return _service(sys.argv[1:])


def _ctl(arguments: list[str]) -> int:
    from gpupanel.cli.main import main

    return main(arguments)


def _agent(arguments: list[str]) -> int:
    from gpupanel.service.agent import main

    return main(arguments)


def _worker(arguments: list[str]) -> int:
    del arguments
    from gpupanel.stress.worker import main

    return main()


def _selftest(arguments: list[str]) -> int:
    from gpupanel.stress.selftest import main

    return main(arguments)


def _probe(arguments: list[str]) -> int:
    from gpupanel.stress.probe import main

    return main(arguments)


def _deadman(arguments: list[str]) -> int:
    del arguments
    if sys.platform == "win32":
        sys.stderr.write("gpupanel deadman: Windows lets go by itself\n")
        return 2
    else:  # noqa: RET505 - mypy sees one of the two on each system
        from gpupanel.enforcement.deadman_child import main

        return main()


def _service(arguments: list[str]) -> int:
    from gpupanel.service.system import main

    return main(arguments)


_ROLES: Mapping[str, Callable[[list[str]], int]] = {
    "ctl": _ctl,
    "agent": _agent,
    "worker": _worker,
    "selftest": _selftest,
    "probe": _probe,
    "deadman": _deadman,
    "service": _service,
}

if __name__ == "__main__":
    sys.exit(gpupanel())
