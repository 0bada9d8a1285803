"""Whether a server can be reached at all: asked before a client that would try for minutes."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 3.0


class Unreachable(OSError):
    """No connection to a server, or to the proxy on the way to it."""


def require(url: str) -> None:
    """Open a connection to a URL's server (or its proxy) and close it.

    Args:
        url: of the service; one that is no http address is not asked.

    Raises:
        Unreachable: the host is not known, refuses or does not answer.
    """
    asked = urlsplit(url)
    if asked.scheme not in ("http", "https") or not asked.hostname:
        return
    way = asked
    proxy = getproxies().get(asked.scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(asked.hostname):
        way = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host = way.hostname or asked.hostname
    port = way.port or (443 if way.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        raise Unreachable(f"{host} cannot be reached: {error.strerror or error}") from error
