"""The user's own deployment, and a tiny run in it that nobody misses: its keys are its own, and go when it is over.

The run is ``podsquad run`` as a process: through the user's Prefect, into the user's store, on this machine's CPU by
the torch runtime of this interpreter, whatever the deployment's own runtime is. A seed that is drawn anew gives it keys
that no other run has. It ends before anything is published.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podsquad.config.load import ENVIRONMENT_PREFIX, load_settings
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.config.settings import Settings
from podsquad.errors import InternalError, PodsquadError
from podsquad.processes import children_of
from podsquad.stages.catalog import STAGES
from podsquad.stages.run import stage_ingredients
from podsquad.store.artifacts import Store
from podsquad.store.builds import STAGING, WORK
from podsquad.store.keys import key_of
from podsquad.store.removal import remove

CHECKPOINT_STEPS = 10
OWNER = "podsquad-drill"  # of the repositories on a drill's own Hub: nobody else's error names it
_LOOK_SECONDS = 0.02
_LONGEST_SECONDS = 900.0
_RESULTS = ".prefect"  # in the store: what Prefect keeps of each stage (tasks/stage_task.py)
_TINY = {
    "data.source": "demo",
    "data.demo_train_questions": "100",
    "data.demo_validation_questions": "10",
    "features.tokenizer": "demo",
    "model.base": "scratch",
    "model.hidden_size": "32",
    "model.num_layers": "1",
    "model.num_heads": "2",
    "model.intermediate_size": "64",
    "training.epochs": "15",
    "training.batch_size": "10",
    "training.checkpoint_interval_steps": str(CHECKPOINT_STEPS),
    "runtime.name": "torch",
    "runtime.device": "cpu",
    "runtime.threads": "1",
    "retry.retries": "0",
}


@dataclass
class Run:
    """One ``podsquad run`` under way."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)

    def everybody(self) -> list[int]:
        """Return the process and all that it started, itself last."""
        found, waiting = [self.process.pid], [self.process.pid]
        while waiting:
            below = children_of(waiting.pop())
            found, waiting = below + found, waiting + below
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for pid in self.everybody():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> int:
        """Wait for its end and return the exit code; a signal counts below 0."""
        return self.process.wait(timeout=_LONGEST_SECONDS)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def told(self) -> str:
        """Return the last line of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it said nothing"


class Deployment:
    """Where the drill's runs are made. A context manager: at its end nothing of them is left in the store."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        """Use the store of ``settings``; ``scratch`` is an empty folder, for logs and what a drill needs."""
        self.scratch = scratch
        self.store = settings.store.path.absolute()
        self._sets = {**_TINY, "store.path": str(self.store), "data.demo_seed": str(secrets.randbits(40))}
        self._variants: list[Mapping[str, str]] = [{}]
        self._runs: list[Run] = []

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end()
        except BaseException:  # a stop that is asked for meanwhile, which comes once (stop_explained)
            self._end()
            raise

    def _end(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.send(signal.SIGKILL)
                run.process.wait()
        self._clear()

    def start(self, note: str, environ: Mapping[str, str] | None = None, **changes: str) -> Run:
        """Start a run; ``training__seed="1"`` sets training.seed, and ``environ`` adds to its environment."""
        sets = self._changed(changes)
        log = self.scratch / f"{len(self._runs)}.log"
        command = [sys.executable, "-m", "podsquad", "run", "--no-publish", "--profile", "demo"]
        command += ["--note", f"podsquad drill: {note}", *(f"--set={name}={value}" for name, value in sets.items())]
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**_without_settings(os.environ), **(environ or {})},
                start_new_session=True,
            )
        self._runs.append(Run(process, log))
        return self._runs[-1]

    def settings(self, **changes: str) -> Settings:
        """Return the settings of the drill's runs, as the command reads them."""
        return load_settings("demo", self._changed(changes), _without_settings(os.environ)).settings

    def keys(self, **changes: str) -> dict[StageName, str]:
        """Return the keys of the drill's stages, as far as the artifacts that they read are there."""
        settings, store = self.settings(**changes), Store(self.store)
        keys: dict[StageName, str] = {}
        digests: dict[StageName, str] = {}
        for name in STAGE_NAMES:
            if all(each in digests for each in STAGES[name].inputs):
                keys[name] = key_of(stage_ingredients(name, settings, digests))
                if artifact := store.look_up(name, keys[name]).artifact:
                    digests[name] = artifact.digest
        return keys

    def digest(self, stage: StageName, **changes: str) -> str:
        """Return the digest of the drill's artifact of a stage, verified; empty when there is none that is whole."""
        key = self.keys(**changes).get(stage)
        artifact = Store(self.store).look_up(stage, key).artifact if key else None
        return artifact.digest if artifact else ""

    def resumed_from(self) -> int:
        """Return the step that the training that made the drill's model went on from."""
        path = self.store / "train" / self.keys()["train"] / "record/training.json"
        return int(json.loads(path.read_text(encoding="utf-8"))["resumed_from"])

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints of the drill's training, the newest last."""
        return sorted(self.store.glob(f"train/{WORK}/{self.keys()['train']}.*/checkpoints/step-????????"))

    def leftovers(self) -> list[Path]:
        """Return what the drill's builds left behind beside artifacts."""
        kept = [(stage, key) for changes in self._variants for stage, key in self.keys(**changes).items()]
        folders = [(self.store / stage / folder, key) for stage, key in kept for folder in (STAGING, WORK)]
        return sorted({path for folder, key in folders for path in folder.glob(f"*{key}*")})

    def wait_for_checkpoint(self, run: Run, num: int) -> Path:
        """Return the newest checkpoint as soon as there are ``num`` of this run. Raises InternalError if it ends."""
        train = self.keys()["train"]
        seen: set[Path] = set()
        while True:
            found = sorted(self.store.glob(f"train/{WORK}/{train}.*/checkpoints/step-????????"))
            seen |= set(found)
            if len(seen) >= num and found:
                return found[-1]
            if run.process.poll() is not None or run.seconds > _LONGEST_SECONDS:
                raise InternalError(
                    f"the drill's run ended before its training had {num} checkpoints: {run.told()}",
                    why="it must run for a moment before something can be done to it",
                    do="look at what `podsquad run --profile demo` says",
                )
            time.sleep(_LOOK_SECONDS)

    def forget(self, stage: StageName) -> None:
        """Take the drill's own artifact of a stage away, so that the next run makes it again."""
        key = self.keys()[stage]
        remove(self.store / stage / key, ignore_errors=True)

    def _changed(self, changes: Mapping[str, str]) -> dict[str, str]:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        if changes not in self._variants:
            self._variants.append(changes)
        return {**self._sets, **named}

    def _clear(self) -> None:
        for path in self._own_paths():
            remove(path, ignore_errors=True)

    def _own_paths(self) -> Iterator[Path]:
        """Yield everything in the store that bears a key of the drill's, or tells of a repository of its own."""
        found: set[tuple[StageName, str]] = set()
        for changes in list(self._variants):
            with contextlib.suppress(PodsquadError):
                found |= set(self.keys(**changes).items())
        for stage, key in found:
            home = self.store / stage
            yield from (path for path in (home / key, *home.glob(f".*/*{key}*")) if os.path.lexists(path))
        marks = [f"{OWNER}/".encode(), *(key.encode() for _, key in found)]
        for path in (self.store / _RESULTS).glob("*"):
            # Under a stage's key, or, for the error of a run that failed, under a name of Prefect's own.
            if path.is_file() and any(mark in path.name.encode() or mark in path.read_bytes() for mark in marks):
                yield path


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the settings in it but the store's: the tiny run is the same wherever it is made.

    Another runtime's interpreter above all is not for it (``PODSQUAD_RUNTIME__PYTHON``, as docs/ipu.md has it).
    """
    kept = f"{ENVIRONMENT_PREFIX}STORE__"
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(kept) or not (name.startswith(ENVIRONMENT_PREFIX) and "__" in name)
    }
