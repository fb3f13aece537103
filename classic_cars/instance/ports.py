"""Who listens on a port of this machine, and who is who: from Linux's ``/proc``."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

LISTENING = "0A"


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
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in folder.iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return process(int(folder.parent.name))
    return "another user's process"


def process(pid: int) -> str:
    """``pid 4711 (python dagster dev)``: the program and at most two words, none of an option: it may be a secret."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
        # Of Python, what it runs comes after its own options.
        after = words.index("-m") + 1 if "-m" in words else 1
        shown = takewhile(lambda word: not word.startswith("-"), words[after : after + 2])
        return f"pid {pid} ({' '.join([*words[:1], *shown])})"
    return f"pid {pid}"


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
