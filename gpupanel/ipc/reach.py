"""How a client reaches the service, and makes sure that it is the service that answers."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from typing import Protocol

from gpupanel.ipc.transport import Endpoint, Service, Stream
from gpupanel.model.errors import ServiceUnreachable

STRONGEST_FIRST = (Endpoint.CONTROL, Endpoint.READ_ONLY)


class Line(Stream, Protocol):
    """A stream that its user closes."""

    def close(self) -> None:
        """Give back what it took."""


if sys.platform == "win32":
    from gpupanel.ipc import named_pipe

    def connect(service: Service) -> tuple[Line, Endpoint] | None:
        """As below."""
        for endpoint in STRONGEST_FIRST:
            line = named_pipe.connect(endpoint)
            if line is not None:
                return line, endpoint
        return None

    def addresses(service: Service) -> list[tuple[Endpoint, str]]:
        """As below; which of them is open is found out by trying."""
        return [(endpoint, named_pipe.NAMES[endpoint]) for endpoint in STRONGEST_FIRST]

    def check(descriptor: int, service: Service) -> None:
        """As below."""
        named_pipe.check_is_service(descriptor)

else:
    from gpupanel.ipc.unix_socket import NAMES, SocketStream, credentials

    def connect(service: Service) -> tuple[Line, Endpoint] | None:
        """A connection to the service, by the strongest door that is open to this process.

        Returns:
            None where there is no service.

        Raises:
            ServiceUnreachable: Something answers there that is not the service.
        """
        for endpoint, address in addresses(service):
            connected = socket.socket(socket.AF_UNIX)
            try:
                connected.connect(address)
                check(connected.fileno(), service)
            except OSError:
                connected.close()
                continue
            except ServiceUnreachable:
                connected.close()
                raise
            return SocketStream(connected), endpoint
        return None

    def addresses(service: Service) -> list[tuple[Endpoint, str]]:
        """Where the service may answer, of what this process may open; strongest first."""
        every = [(one, os.fspath(service.run_dir / NAMES[one])) for one in STRONGEST_FIRST]
        return [(endpoint, path) for endpoint, path in every if os.access(path, os.W_OK)]

    def check(descriptor: int, service: Service) -> None:
        """Look who listens at the other end of a connection that we made.

        Raises:
            ServiceUnreachable: It is not the service, or has gone.
        """
        try:
            with closing(socket.socket(fileno=os.dup(descriptor))) as same:
                uid = credentials(same)[1]
        except OSError as reason:
            raise ServiceUnreachable(f"the service has gone: {reason}") from None
        if uid != service.uid:
            raise ServiceUnreachable(
                f"what answers in {service.run_dir} is run by user {uid} and is not the service: "
                "tell your administrator"
            )
