"""Who listens on a port of this machine, and who is who."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from itertools import takewhile

import psutil


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. Raises ``OSError`` for a host or port that is not to be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def holder(port: int) -> str:
    """The process that listens on the port, for people; one of another user cannot be told."""
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid is not None:
            return process(each.pid)
    return "another user's process"


def process(pid: int) -> str:
    """``pid 4711 (python dagster dev)``: the program and at most two words, none of an option: it may be a secret."""
    with suppress(psutil.Error):
        words = " ".join(psutil.Process(pid).cmdline()).split()
        # Of Python, what it runs comes after its own options.
        after = words.index("-m") + 1 if "-m" in words else 1
        shown = takewhile(lambda word: not word.startswith("-"), words[after : after + 2])
        return f"pid {pid} ({' '.join([*words[:1], *shown])})"
    return f"pid {pid}"
