"""``python -m deployments.automations [--webhook NAME]``: what Prefect does by itself when a night goes wrong.

Always: a run whose heartbeats stop is marked Crashed (its process was killed where no worker saw it), and one that no
worker takes says so, and what to do; it starts by itself when there is one. With the name of a Webhook block, which
holds the address and any secret: a message when a run failed, crashed, runs for too long, or was rejected by the gate.
Registered again, an automation is changed in its place, and stays switched off where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from deployments.home import POOL, reach_server, run_program
from podsquad.errors import InputMissingError, SettingsError

FLOWS = ("retrain", "canary")
SILENT_SECONDS = 120.0  # four heartbeats: command/run.py asks for one every 30 s
TOO_LONG_HOURS = 8.0
LEAST_SECONDS = 10.0  # of a proactive trigger (prefect/events/schemas/automations.py)
ZOMBIE = "podsquad: no heartbeat"
NOBODY = "podsquad: no worker"
# How the sentence of a run begins whose model the gate rejected (flows/report.py). Not its tag: for five minutes the
# server sends with a run's events the tags that it had at the first of them (prefect/server/models/events.py).
REJECTED_SENTENCES = ("Rejected: ", "Emulated. Rejected: ")
_FINAL = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
_OURS = {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
_REJECTED = {"prefect.state-message": [f"{words}*" for words in REJECTED_SENTENCES]}
# What the webhook gets. tojson quotes whatever a name or a message holds.
_PAYLOAD = {
    "event": None,
    "run": "{{ flow_run.name | tojson }}",
    "state": "{{ flow_run.state.name | tojson }}",
    "message": "{{ flow_run.state.message | tojson }}",
    "url": "{{ flow_run | ui_url | tojson }}",
}


def make_automations(webhook: UUID | None, silent_seconds: float, too_long_seconds: float) -> list[Any]:
    """Return the automations as Prefect's client takes them; without a webhook only those that bring out the truth.

    Raises SettingsError for a time that is too short.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import CallWebhook, ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    if (shortest := min(silent_seconds, too_long_seconds)) < LEAST_SECONDS:
        raise SettingsError(
            f"{shortest:g} seconds are too short to wait for a sign of a run",
            why=f"Prefect measures silence from {LEAST_SECONDS:g} seconds on",
            do="give a longer time",
        )

    def trigger(**more: Any) -> EventTrigger:
        return EventTrigger(**({"match": _RUNS, "match_related": _OURS, "for_each": {"prefect.resource.id"}} | more))

    def silence(after: str, expect: set[str], seconds: float) -> EventTrigger:
        within = timedelta(seconds=seconds)
        return trigger(after={after}, expect=expect, posture=Posture.Proactive, threshold=1, within=within)

    automations = [
        AutomationCore(
            name=ZOMBIE,
            description="Marks a run as Crashed when its process has sent no sign of life.",
            trigger=silence("prefect.flow-run.heartbeat", {"prefect.flow-run.*"}, silent_seconds),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no sign of life for {silent_seconds:g} seconds: its process is gone, or cannot reach the "
                    "server. Before a Retry look whether it still trains: a device's lock keeps two from meeting",
                )
            ],
        ),
        AutomationCore(
            name=NOBODY,
            description="Tells on a run's page that no worker takes it.",
            trigger=trigger(expect={"prefect.flow-run.Late"}),
            actions=[
                ChangeFlowRunState(
                    state=StateType.SCHEDULED,
                    name="AwaitingWorker",
                    message=f"no worker takes runs from the work pool {POOL}. On its host: make up, or make worker for "
                    "another server. The run then starts by itself",
                )
            ],
        ),
    ]
    if webhook is None:
        return automations
    told = (
        ("failed", "a run has failed", trigger(expect={"prefect.flow-run.Failed", "prefect.flow-run.TimedOut"})),
        ("crashed", "a run has crashed", trigger(expect={"prefect.flow-run.Crashed"})),
        (
            "runs too long",
            f"a run has not ended within {too_long_seconds / 3600:g} hours",
            silence("prefect.flow-run.Running", _FINAL, too_long_seconds),
        ),
        (
            "rejected",
            "the gate has rejected a run's model",
            trigger(expect={"prefect.flow-run.Completed"}, match=_RUNS | _REJECTED),
        ),
    )
    return automations + [
        AutomationCore(
            name=f"podsquad: {what}",
            description=f"Calls the webhook when {when}.",
            trigger=each,
            actions=[CallWebhook(block_document_id=webhook, payload=_payload(what))],
        )
        for what, when, each in told
    ]


def _payload(what: str) -> str:
    parts = (f"{json.dumps(name)}: {json.dumps(what) if value is None else value}" for name, value in _PAYLOAD.items())
    return "{" + ", ".join(parts) + "}"


def register(
    webhook: str | None = None,
    *,
    silent_seconds: float = SILENT_SECONDS,
    too_long_seconds: float = TOO_LONG_HOURS * 3600,
) -> list[str]:
    """Register the automations with the server and return their names. Raises InputMissingError for no such block.

    Without a webhook those that call one are left as they are.
    """
    from prefect import get_client

    with get_client(sync_client=True) as client:
        block = _webhook_id(client, webhook) if webhook else None
        there: Mapping[str, Any] = {each.name: each for each in client.read_automations()}
        names = []
        for automation in make_automations(block, silent_seconds, too_long_seconds):
            if old := there.get(automation.name):
                # The client's own update leaves out what was not set by hand, and the server then refuses it.
                content = automation.model_dump(mode="json", exclude={"owner_resource"}) | {"enabled": old.enabled}
                client._client.put(f"/automations/{old.id}", json=content)
            else:
                client.create_automation(automation)
            names.append(automation.name)
    return names


def _webhook_id(client: Any, name: str) -> UUID:
    from prefect.exceptions import ObjectNotFound

    try:
        found: UUID = client.read_block_document_by_name(name, "webhook").id
    except ObjectNotFound:
        raise InputMissingError(
            f"there is no Webhook block named {name!r}",
            why="messages go to the address that such a block holds",
            do="make one in the UI under Blocks (type Webhook), and run this again with its name",
        ) from None
    return found


def main() -> None:
    """Read the options and register."""
    parser = argparse.ArgumentParser(prog="python -m deployments.automations", description=__doc__.splitlines()[0])
    parser.add_argument("--webhook", metavar="NAME", help="the Webhook block that gets the messages")
    parser.add_argument("--silent-seconds", type=float, default=SILENT_SECONDS, help="(%(default)s)")
    parser.add_argument("--too-long-hours", type=float, default=TOO_LONG_HOURS, help="(%(default)s)")
    options = parser.parse_args()
    reach_server()
    too_long_seconds = options.too_long_hours * 3600
    for name in register(options.webhook, silent_seconds=options.silent_seconds, too_long_seconds=too_long_seconds):
        print(f"registered the automation {name!r}")


if __name__ == "__main__":
    run_program(main)
