"""The night: download, tokenize, compile, train, evaluate, publish.

Each stage is a task whose result is kept under the domain's key, so a stage whose inputs did not change is shown as
cached. A failure that can heal is tried again; any other ends the run at once, and the next run goes on from there.
"""

# No "from __future__ import annotations": Prefect loads a deployed flow by its file and could not resolve them.
from typing import Any

from prefect import flow
from prefect.states import Completed

from flows.form import Changes, merged
from flows.report import report_run, report_unchanged
from podsquad.config.section import StageName
from podsquad.config.settings import ProfileName
from tasks.compile import compile_program
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.night import Night
from tasks.page import log_to_page, run_name
from tasks.publish import publish as publish_model
from tasks.tokenize import tokenize
from tasks.train import train


# Prefect keeps a failed run's error whatever persist_result says: as JSON, not as a pickle.
@flow(name="retrain", flow_run_name=run_name, persist_result=False, result_serializer="json")
def retrain(
    profile: ProfileName = "demo",
    changes: Changes = Changes(),  # noqa: B008 - frozen; a default of None would make the form's box a choice
    refresh: tuple[StageName, ...] = (),
    publish: bool = True,
    note: str = "",
    overrides: dict[str, Any] = {},  # noqa: B006 - never changed, as above
) -> dict[str, Any]:
    """Retrain a question-answering model, from the questions to the published folder.

    Args:
        profile: The set of settings to begin with. demo: a made-up world, minutes on any machine. cpu, gpu: SQuAD on
            this host's CPU or CUDA device. pod16: the reference run on 16 IPUs. pod16-emulated: its program, small, on
            the CPU.
        changes: The settings that people change most. What is empty is as the profile says.
        refresh: Stages to run in any case, whether or not there is something to reuse.
        publish: Publish the model. Switched off, the run ends after evaluate.
        note: Why this run is made: anything that you want to read on its page.
        overrides: Any other settings, by dotted name, as {"training.weight_decay": 0.02}. "podsquad config show"
            lists all of them.
    """
    log_to_page()
    night = Night.begin(profile, merged(changes, overrides), frozenset(refresh), publish=publish, note=note)
    if publish and (unchanged := night.find_unchanged()):
        report = report_unchanged(profile, unchanged, note=note)
        return Completed(message=report["summary"], data=report)
    dataset = night.run(download)
    features = night.run(tokenize, dataset)
    executable = night.run(compile_program, features)
    model = night.run(train, features, executable)
    evaluation = night.run(evaluate, dataset, features, model)
    if publish:
        night.run(publish_model, dataset, features, executable, model, evaluation)
        night.show_all_nights()
    report = report_run(profile, night.outcomes, night.folders, note=note)
    return Completed(message=report["summary"], data=report)  # whoever calls the flow gets the report
