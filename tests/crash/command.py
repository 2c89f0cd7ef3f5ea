"""The real command as a process that can be killed, and what it leaves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from podsquad import processes
from podsquad.config.section import StageName
from tests.faults.telling import CANARY, files_with_token

HOME = Path(__file__).resolve().parents[2]
SWITCH = Path(__file__).parent / "switch"
# Small, but with several epochs, checkpoints on the way and dropout.
SETTINGS = (
    "data.demo_train_questions=60",
    "data.demo_validation_questions=24",
    "training.epochs=3",
    "training.batch_size=20",
    "training.checkpoint_interval_steps=2",
    "runtime.device=cpu",
    "runtime.threads=1",
    "retry.delay_seconds=0.1",
)
KILLED = -signal.SIGKILL
# The training is done and its last checkpoint written, but nothing of its result.
TRAINED = "train podsquad.runtimes.torch.train:_write_records:write_bytes:replace before"
VERDICT = "verdict "  # begins the name of what is no file
# Times and machine stand there, or digests of what holds them; and what the gate said to the run that came to an end,
# which a mended publication is unchanged to: what it said of the version is in the receipt.
_TOLD_ANEW = re.compile(r"(^|/)(record/.*|programs/.*|README\.md|(manifest|files|publication|verdict)\.json)$")


class Command:
    """``podsquad run`` in a folder of its own, with the kill switch on its path."""

    profile = "demo"
    runtime = "podsquad.runtimes.torch"
    settings = SETTINGS
    published = "demo-reader"
    publishes = True
    trained = TRAINED
    told_anew = _TOLD_ANEW

    def __init__(self, folder: Path, server: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.server = folder, server
        self.store = folder / ".podsquad/store"
        self._log = folder / "places.log"
        self._environ = {
            **os.environ,
            "PREFECT_API_URL": server,
            "PYTHONPATH": f"{SWITCH}{os.pathsep}{HOME}",
            "CRASH_LOG": str(self._log),
            "OMP_NUM_THREADS": "1",
            "HF_TOKEN": CANARY,
        }

    def start(self, *sets: str, refresh: str = "", **environ: str) -> subprocess.Popen[bytes]:
        """Start it as the leader of a process group of its own; its output goes to output.log."""
        settings = [f"--set={assignment}" for assignment in (*self.settings, *sets)]
        command = [sys.executable, "-m", "podsquad", "run", "--json", "--profile", self.profile, *settings]
        command += ["--refresh", refresh] if refresh else []
        command += [] if self.publishes else ["--no-publish"]
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self._environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *sets: str, refresh: str = "", **environ: str) -> int:
        """Run it to its end and return its exit code; SIGKILL counts as -9."""
        process = self.start(*sets, refresh=refresh, **environ)
        try:
            return process.wait(timeout=300)
        finally:
            process.kill()
            process.wait()

    def finish(self, *sets: str) -> None:
        """Run it undisturbed; it must end well, and tell the token nowhere."""
        assert self.run(*sets) == 0, self.told()
        self.check_secrets()

    def check_secrets(self) -> None:
        """The token is in no file that a run left in this folder, the output of every run among them."""
        assert (self.folder / "output.log").is_file()
        assert files_with_token(self.folder) == []

    def places(self) -> list[str]:
        """Return ``<stage> <point> <phase>`` of everything made durable so far, each once, in order."""
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return list(dict.fromkeys(lines))

    def told(self) -> str:
        """Return the end of what it printed."""
        return self.whole_log()[-4000:]

    def whole_log(self) -> str:
        """Return all that was printed in this folder so far."""
        return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")

    def made(self) -> dict[str, str]:
        """Return the SHA-256 of every file of the artifacts and of the published model, but for times and machine.

        And of each verdict that the store remembers, which one killed may have told twice. The publish stage's key
        holds the folder's path, so versions, its artifact and what verdicts tell of them go by no name here.
        """
        files = {}
        published = self.folder / ".podsquad/published" / self.published
        for root, pattern in ((self.store, "[a-z]*/[0-9a-f]*/**/*"), (published, "current/**/*")):
            for path in root.glob(pattern):
                name = re.sub("store/publish/[0-9a-f]+", "store/publish", path.relative_to(self.folder).as_posix())
                if path.is_file() and not self.told_anew.search(name):
                    content = _without_card(path) if path.name == "receipt.json" else path.read_bytes()
                    files[name] = hashlib.sha256(content).hexdigest()
        return files | self._verdicts()

    def _verdicts(self) -> dict[str, str]:
        path, found = self.store / "verdicts.jsonl", {}
        for line in path.read_bytes().splitlines() if path.exists() else []:
            verdict = json.loads(line)
            told = {name: value for name, value in verdict.items() if name not in ("at", "publication")}
            digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
            found[f"{VERDICT}{verdict['verdict']} {digest[:8]}"] = digest
        return found

    def leftovers(self) -> list[str]:
        """Return what lies in the store or the published folder that is neither an artifact, a version nor a lease."""
        roots = [*self.store.glob("[a-z]*"), self.folder / ".podsquad/published" / self.published]
        inside = [path for root in roots for kind in (".staging", ".work") for path in (root / kind).glob("*")]
        temporary = [path for root in roots for path in root.rglob(".tmp-*")]
        return sorted(path.relative_to(self.folder).as_posix() for path in {*inside, *temporary})

    def newest_checkpoint(self) -> dict[str, str]:
        """Return name and SHA-256 of the files of the newest checkpoint in the train stage's work folder."""
        folders = sorted(self.store.glob("train/.work/*/checkpoints/step-*"))
        if not folders:
            return {}
        return {
            f"{folders[-1].name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folders[-1].iterdir())
        }

    def forget(self) -> None:
        """Begin again in an empty folder."""
        shutil.rmtree(self.folder / ".podsquad")

    def copy_from(self, store: Path, *stages: StageName) -> None:
        """Take the artifacts of some stages from another store: they need not be made again."""
        for stage in stages:
            for path in (store / stage).glob("[0-9a-f]*"):
                shutil.copytree(path, self.store / stage / path.name)


class Unpublished(Command):
    """The command that ends after evaluate: what comes after it is killed elsewhere (test_points.py)."""

    publishes = False


def _without_card(receipt: Path) -> bytes:
    """Return a receipt without the digest of the card, which tells times."""
    content = json.loads(receipt.read_bytes())
    del content["published"]["README.md"]
    return json.dumps(content, sort_keys=True).encode()


def children_of(pid: int, words: str) -> list[int]:
    """Return the processes that ``pid`` started and whose command line holds ``words``."""
    found = []
    for child in processes.children_of(pid):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            if words in Path(f"/proc/{child}/cmdline").read_text(errors="replace").replace("\0", " "):
                found.append(child)
    return found
