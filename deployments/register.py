"""``python -m deployments.register``: register the work pool and the deployments, again and again.

What a person switched on or off stays so: Prefect's own ``prefect deploy`` would set each schedule back to what the
file says, and switch a running night off.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from uuid import UUID

from deployments.home import CHECKOUT, POOL, PREFECT_FILE, reach_server, run_program
from podsquad.errors import TemporaryError

DEPLOY = ("--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE))
_SECONDS = 300.0


def register() -> list[str]:
    """Register everything that prefect.yaml holds and return the deployments' names, each after its flow's.

    Raises TemporaryError when Prefect's own program refuses; its last words are in the message.
    """
    _make_pool()
    before = _switches()
    _deploy()
    _restore(before)
    _close_forms()
    return _full_names()


def _make_pool() -> None:
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return


def _deploy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *DEPLOY],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        words = [line.strip(" │╭╮╰╯─") for line in done.stdout.splitlines()]
        raise TemporaryError(
            "prefect deploy failed: " + " ".join([word for word in words if word][-3:]),
            why="the server is away, of another version, or refuses a deployment",
            do=f"see all that it says with: prefect deploy --all --prefect-file {PREFECT_FILE}",
        )


def _schedules_and_names() -> list[tuple[str, UUID, list[tuple[UUID, str | None, bool]]]]:
    from prefect import get_client

    with get_client(sync_client=True) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Prefect's own, of its own fields
        return [
            (deployment.name, deployment.id, [(each.id, each.slug, each.active) for each in deployment.schedules])
            for deployment in client.read_deployments()
        ]


def _full_names() -> list[str]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        return sorted(f"{flows[deployment.flow_id]}/{deployment.name}" for deployment in client.read_deployments())


def _switches() -> dict[tuple[str, str], bool]:
    return {
        (name, slug): active
        for name, _, schedules in _schedules_and_names()
        for _, slug, active in schedules
        if slug is not None
    }


def _restore(before: dict[tuple[str, str], bool]) -> None:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        for name, deployment_id, schedules in _schedules_and_names():
            for schedule_id, slug, active in schedules:
                wanted = before.get((name, slug or ""), active)
                if wanted != active:
                    client._client.patch(
                        f"/deployments/{deployment_id}/schedules/{schedule_id}", json={"active": wanted}
                    ).raise_for_status()


def _close_forms() -> None:
    """Let the server refuse a run with a parameter that the flow does not have, and name it.

    Prefect's schema of a flow leaves that open; the flow's process would end before it could tell anybody.
    """
    from prefect import get_client

    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            schema = {**(deployment.parameter_openapi_schema or {}), "additionalProperties": False}
            client._client.patch(
                f"/deployments/{deployment.id}", json={"parameter_openapi_schema": schema}
            ).raise_for_status()


def main() -> None:
    """Register, and say what is there."""
    address = reach_server()
    for name in register():
        print(f"registered {name}")
    print(f"at {address}")


if __name__ == "__main__":
    run_program(main)
