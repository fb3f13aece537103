"""A proxy in front of a real S3 server that answers some requests wrongly, late or not at all, as told."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What S3 says, by the word for it.
REFUSALS = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403, "ExpiredToken": 400}
WRITES = ("PUT", "POST", "DELETE")


@dataclass
class Faults:
    """What goes wrong from now on. ``kind``: a word of ``REFUSALS``, "reset" or "slow"; empty for nothing.

    ``every``: each so many requests (of ``methods``, if given), at most ``most`` of them. ``done`` counts.
    """

    kind: str = ""
    every: int = 1
    most: int = 10**9
    methods: tuple[str, ...] = ()
    seconds: float = 0.5
    done: int = 0
    seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def set(self, kind: str, *, every: int = 1, most: int = 10**9, methods: tuple[str, ...] = ()) -> None:
        with self._lock:
            self.kind, self.every, self.most, self.methods = kind, every, most, methods
            self.done = self.seen = 0

    def strike(self, method: str) -> str:
        """The fault of this request, or nothing."""
        with self._lock:
            if not self.kind or (self.methods and method not in self.methods):
                return ""
            self.seen += 1
            if self.done >= self.most or self.seen % self.every:
                return ""
            self.done += 1
            return self.kind


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this is for."""


@contextmanager
def faulty_proxy(upstream_port: int) -> Iterator[tuple[str, Faults]]:
    """The proxy's endpoint and its faults."""
    faults = Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self._body()
            kind = faults.strike(self.command)
            if kind == "reset":
                # Closing with this option sends RST.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            elif kind in REFUSALS:
                text = f"<?xml version='1.0'?><Error><Code>{kind}</Code><Message>A fault</Message></Error>".encode()
                self._answer(REFUSALS[kind], [("Content-Type", "application/xml")], text)
            else:
                if kind == "slow":
                    time.sleep(faults.seconds)
                self._pass_on(body)

        def _body(self) -> bytes:
            """The request's body as it was sent, the frames of chunks included."""
            if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            raw = b""
            while True:
                line = self.rfile.readline()
                size = int(line.split(b";")[0], 16)
                raw += line + (self.rfile.read(size + 2) if size else b"")
                if not size:
                    break
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                raw += line  # trailers
            return raw + b"\r\n"

        def _pass_on(self, body: bytes) -> None:
            upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=30)
            try:
                # All headers as they are, Host too: the signature covers them.
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders(body or None)
                answer = upstream.getresponse()
                payload = answer.read()
                self._answer(answer.status, answer.getheaders(), payload)
            except OSError:
                self.close_connection = True  # the server behind is away
                self.connection.close()
            finally:
                upstream.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            hidden = ("content-length", "transfer-encoding", "connection")
            length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
            for name, value in headers:
                if name.lower() not in hidden:
                    self.send_header(name, value)
            # HEAD tells the length of what it does not send.
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def log_message(self, *_: object) -> None:
            """Nothing: tests read what the platform says."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
