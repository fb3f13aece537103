"""Who is notified, in tests: a real mail server and a real webhook receiver on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """Mails that a server took: (subject, text), and the HTML of each; files that came along, by name."""

    url: str = ""
    mails: list[tuple[str, str]] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    attachments: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain", "html"))
        self.mails.append((str(mail["subject"]), body.get_content() if body else ""))
        page = mail.get_body(("html",))
        self.html.append(page.get_content() if page else "")
        for each in mail.iter_attachments():
            content = each.get_content()
            text = content.decode() if isinstance(content, bytes) else content
            self.attachments.append((each.get_filename() or "", text))
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    controller, port = _started(mailbox)
    mailbox.url = f"mailto://127.0.0.1:{port}?from=platform@example.com&to=owner@example.com&mode=insecure"
    try:
        yield mailbox
    finally:
        controller.stop()


def _started(mailbox: Mailbox) -> tuple[Controller, int]:
    """A mail server on a free port; another process may take it between the question and the answer."""
    for attempt in range(10):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        controller = Controller(mailbox, hostname="127.0.0.1", port=port)
        try:
            controller.start()
        except OSError:
            if attempt == 9:
                raise
            continue
        return controller, port
    raise AssertionError("unreachable")


@dataclass
class Webhook:
    """What was posted; ``answer`` is the status that posting gets."""

    port: int = 0
    answer: int = 200
    posted: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0

    @property
    def url(self) -> str:
        return f"json://hook:s3cret-p4ss@127.0.0.1:{self.port}/alerts"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.posted]


@contextmanager
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.attempts += 1
            if hook.answer == 200:
                hook.posted.append(posted)
            self.send_response(hook.answer)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
