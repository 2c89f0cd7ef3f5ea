"""Faults by rule: which requests go wrong, how often, and how."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

FAULTS = ("status", "status_after", "cut", "cut_after", "cut_body", "delay", "never", "corrupt", "hold", "hold_after")


@dataclass
class Fault:
    """One rule. ``do`` is one of FAULTS:

    status, status_after: answer with ``status``, without or after doing what was asked; cut, cut_after: close the
    connection, before or after; cut_body: promise a body and send half; delay: answer after ``seconds``; never: do not
    answer until the client is gone; corrupt: flip one byte of what is served or stored; hold, hold_after: do not
    answer, and let ``Faults.wait_held`` know, before or after doing it.
    """

    do: str
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    skip: int = 0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Internal Error - We're working hard to fix this as soon as possible!"
    seconds: float = 0.0
    call: Callable[[], None] | None = None
    """Called before the request is worked on (only within one process): a foreign commit, for example."""

    def __post_init__(self) -> None:
        if self.do not in (*FAULTS, "call"):
            raise ValueError(f"{self.do!r} is none of {', '.join(FAULTS)}")


class Faults:
    """The rules of a server. Safe for its threads."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()
        self._held = threading.Condition(self._lock)
        self._num_held = 0
        self.over = threading.Event()
        """Set at the end: whoever is held goes away."""

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append(fault)

    def left(self) -> int:
        """Return how many times the rules would still be met."""
        with self._lock:
            return sum(rule.times for rule in self._rules)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._num_held = 0

    def match(self, method: str, path: str) -> Fault | None:
        """Return the first rule that this request meets, and count it."""
        with self._lock:
            for rule in self._rules:
                if not re.fullmatch(rule.method, method) or not re.search(rule.path, path):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                elif rule.times > 0:
                    rule.times -= 1
                    return rule
        return None

    def tell_held(self) -> None:
        with self._held:
            self._num_held += 1
            self._held.notify_all()

    def wait_held(self, timeout_seconds: float = 60.0) -> bool:
        """Wait until a request is held; False when none was in that time."""
        with self._held:
            return self._held.wait_for(lambda: self._num_held > 0, timeout_seconds)
