"""What users wish, told to the service: each user's own, in the form of a policy file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpupanel.ipc.server import Method
from gpupanel.ipc.transport import Peer
from gpupanel.model.errors import RequestDenied
from gpupanel.policy.everyone import Policies
from gpupanel.policy.identity import user_of


class Wishes:
    """Kept for whom the kernel says that the caller is; for nobody else, and by no argument."""

    def __init__(self, policies: Policies, on_wish: Callable[[int], None]) -> None:
        """``on_wish`` is told whose wishes are new."""
        self._policies = policies
        self._on_wish = on_wish

    def methods_for(self, peer: Peer) -> Mapping[str, Method]:
        """What one client may ask."""
        return {
            "wishes.get": lambda params: {"text": self._policies.wishes(_whose(peer))},
            "wishes.set": lambda params: self._set(peer, params),
        }

    def _set(self, peer: Peer, params: Mapping[str, Any]) -> Mapping[str, Any]:
        uid, text = _whose(peer), params["text"]
        if not isinstance(text, str):
            raise TypeError("text is a policy file as a text")
        try:
            self._policies.wish(uid, text)
        except OSError as reason:
            raise RequestDenied(f"it cannot be kept: {reason.strerror or reason}") from None
        self._on_wish(uid)
        return {}


def _whose(peer: Peer) -> int:
    """Users without a name are those of containers: there may be any number of them."""
    if peer.uid is None or not user_of(peer.uid).is_named:
        raise RequestDenied("your user has no name on this machine, so no wishes are kept for it")
    return peer.uid
