"""Ctrl-C and SIGTERM end a run at once, also in the middle of a query. Knows signals and DuckDB, nothing of Dagster.

Python runs a signal's handler between two of its instructions, and there are none while DuckDB works; an exception
that the handler raises there comes out as an error of the query, which looks like any other failure. Here a thread
hears the signal itself (``signal.set_wakeup_fd``), interrupts every query, and remembers that it was told to stop, so
that whoever sees a failed query can tell why (:func:`requested`).
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

import duckdb

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: How often queries are interrupted again after the signal: another one may begin before anybody looks.
AGAIN_SECONDS = 0.1
#: Signals that follow so quickly are one: ``timeout`` sends it to the process and to its group.
ONE_SIGNAL_SECONDS = 1.0
#: Exit code of a process that was told to stop, as shells have it.
EXIT_CODE = 128 + signal.SIGINT


class Interruptible(Protocol):
    """A connection of DuckDB, or what else can be at work or wait for long."""

    def interrupt(self) -> None:
        """End what is at work, from another thread, without waiting for it; may come again and again."""
        ...


Working = TypeVar("Working", bound=Interruptible)

_working: weakref.WeakSet[Interruptible] = weakref.WeakSet()
_requested = threading.Event()


def interruptible(working: Working) -> Working:
    """The same, whose queries end when the process is told to stop."""
    _working.add(working)
    return working


def requested() -> bool:
    """Whether the process was told to stop."""
    return _requested.is_set()


@contextmanager
def listening() -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM interrupt queries; a second signal ends the process on the spot.

    Whatever handlers Python has for the signals run as well. Does nothing outside the main thread, or within another
    ``listening``.
    """
    if threading.current_thread() is not threading.main_thread() or _is_listening():
        yield
        return
    _requested.clear()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    heard, told = socket.socketpair()
    with closing(heard), closing(told):
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=_listen, args=(heard,), daemon=True, name="interrupts")
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            told.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def held() -> Iterator[None]:
    """Let what must not be left half done end first: Python's handlers of the signals run when this is over.

    For short work only, such as storing one event: an exception that comes while a pool hands out its only connection
    loses the connection. Queries are interrupted all the same. Does nothing outside the main thread, where handlers
    never run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for first in came[:1]:
            handler = handlers[signal.Signals(first)]
            if callable(handler):
                handler(first, None)  # not sent again: it would count as a second signal, which ends the process
            else:
                signal.raise_signal(first)


def _is_listening() -> bool:
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    return found != -1


def _listen(heard: socket.socket) -> None:
    """The thread's work, until the other end is closed."""
    first = 0.0
    while data := _received(heard):
        if not any(number in STOP_SIGNALS for number in data):
            continue
        if first and time.monotonic() - first > ONE_SIGNAL_SECONDS:
            os._exit(EXIT_CODE)
        first = first or time.monotonic()
        _requested.set()
        _interrupt_all()
        heard.settimeout(AGAIN_SECONDS)


def _received(heard: socket.socket) -> bytes:
    """Signals' numbers; nothing when there will be no more. Meanwhile, after a signal, interrupts every query."""
    while True:
        try:
            return heard.recv(64)
        except TimeoutError:
            _interrupt_all()


def _interrupt_all() -> None:
    for each in list(_working):
        try:
            each.interrupt()
        except duckdb.Error:
            continue  # closed meanwhile
