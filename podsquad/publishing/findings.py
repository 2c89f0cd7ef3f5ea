"""What a verification found: one line per file or claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "changed", "missing", "extra", "not checked"]
_FAULTS = ("changed", "missing", "extra")


@dataclass(frozen=True)
class Finding:
    """One file or claim, and what became of it."""

    where: Literal["published", "receipt", "store", "data"]
    name: str
    state: State
    told: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it is not as the receipt says."""
        return self.state in _FAULTS


@dataclass(frozen=True)
class Verification:
    """Everything that was looked at; ``version`` is the key of the receipt that was found, else empty."""

    place: str
    version: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> Sequence[Finding]:
        """What is not as the receipt says."""
        return [finding for finding in self.findings if finding.is_fault]

    @property
    def is_whole(self) -> bool:
        """Whether all is as the receipt says, as far as it was looked at."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"is_whole": self.is_whole, "findings": [asdict(each) for each in self.findings]}
