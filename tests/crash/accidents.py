"""Accidents that bring a run to places where it mends or replaces what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.command import KILLED, TRAINED, Command

# Of a first build that is its only rename, and it is visible; of a replacement the first of two, and nothing is.
RENAMED = "train podsquad.store.artifacts:ensure:move_folder:rename after"
REPAIR = "podsquad.publishing.folder:_build:move_folder:rename"  # the damaged version's, which makes room


@dataclass(frozen=True)
class Accident:
    """What happens to a run, finished or killed at ``begin``, and the point that the next one comes to for it.

    ``leaves``: the run after that finds the artifact by Prefect's record and does not look for what was left.
    ``verdicts``: what the gate says after its first word, of a champion that is the very same model.
    """

    happen: Callable[[Command], None]
    point: str
    begin: str = ""
    leaves: bool = False
    verdicts: tuple[str, ...] = ()


def damage_artifact(command: Command) -> None:
    (weights,) = command.store.glob("train/[0-9a-f]*/model/model.safetensors")
    flip_a_byte(weights)


def damage_checkpoint(command: Command) -> None:
    newest = sorted(command.store.glob("train/.work/*/checkpoints/step-*"))[-1]
    flip_a_byte(newest / "optimizer.safetensors")


def damage_publication(command: Command) -> None:
    (current,) = (command.folder / ".podsquad/published").glob("*/current")
    flip_a_byte(current / "model.safetensors")


def kill_in_mid_repair(command: Command) -> None:
    damage_publication(command)
    assert command.run(CRASH_AT=f"- {REPAIR} after") == KILLED, command.told()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def nothing(command: Command) -> None:
    """It was killed, and that was all."""


def kill_between_renames(command: Command) -> None:
    assert command.run(refresh="train", CRASH_AT=RENAMED) == KILLED, command.told()
    assert not list(command.store.glob("train/[0-9a-f]*"))


ACCIDENTS = {
    "damaged-artifact": Accident(damage_artifact, "podsquad.store.artifacts:_set_aside:rename:rename"),
    "damaged-checkpoint": Accident(
        damage_checkpoint, "podsquad.runtimes.checkpoints:_set_aside:rename:rename", begin=TRAINED
    ),
    "damaged-publication": Accident(damage_publication, REPAIR, verdicts=("unchanged",)),
    "killed-repair": Accident(
        kill_in_mid_repair, "podsquad.publishing.folder:_put_back:rename:rename", verdicts=("unchanged",)
    ),
    "killed-training": Accident(nothing, "podsquad.store.builds:take_over:rename:rename", begin=TRAINED),
    "killed-before-clearing": Accident(nothing, "podsquad.store.builds:remove_builds:rename:rename", begin=RENAMED),
    "killed-replacement": Accident(
        kill_between_renames, "podsquad.store.builds:restore_replaced:rename:rename", leaves=True
    ),
}
