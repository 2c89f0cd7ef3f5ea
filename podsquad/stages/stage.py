"""What a stage is: a declaration of what shapes its output, and a function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.reporting import Reporter
from podsquad.stages.runtimes import Verb
from podsquad.store.artifacts import Artifact, WhyStale, never_stale


@dataclass(frozen=True)
class Building:
    """One build of a stage's artifact: everything the builder may look at, and where it writes.

    ``output`` is an empty folder that becomes the artifact; ``work`` survives a failed build and is there again at
    the next attempt; ``key`` is the stage's key, by which a publication names its version; ``inherited`` are the
    descriptors that a child process must keep open: while it lives, the key counts as being built.
    """

    settings: Settings
    inputs: Mapping[StageName, Artifact]
    output: Path
    work: Path
    key: str
    reporter: Reporter
    inherited: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A stage's declaration."""

    name: StageName
    artifact: str
    """What its artifact is called."""
    format_version: int
    """Raised by hand when the layout of the artifact changes in a way that its code does not show."""
    inputs: tuple[StageName, ...]
    """The stages whose artifacts it reads."""
    modules: tuple[str, ...]
    """The modules that shape its output; those that they import count too (store/source.py)."""
    libraries: tuple[str, ...]
    """The distributions of this interpreter whose versions shape its output."""
    build: Callable[[Building], None]
    """Fills the output folder. Raises errors of podsquad.errors."""
    verb: Verb | None = None
    """What the stage asks of the runtime, whose modules and libraries shape its output too (runtimes.py); None:
    nothing."""
    why_stale: WhyStale = never_stale
    """Says why a whole artifact must not be reused: the world it tells of has changed."""
