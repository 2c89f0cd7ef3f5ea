"""The ``podsquad`` command. Nothing heavy is imported before a verb needs it.

Only ``run`` imports Prefect, and a verb that needs the Hub's token where ``publish.token_block`` says that it is there.

Exit codes: 0 done; 1 the answer is no (verify found a difference, run --strict kept the champion, run --canary
drifted, a drill failed); 64 bad settings, 65 bad data, 66 a named file is missing, 70 a bug, 73 the store cannot be
used, 74 disk full, 75 try again (podsquad/errors.py), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from podsquad import __version__
from podsquad.errors import InternalError, PodsquadError, SettingsError, from_os_error, hide_secrets

if TYPE_CHECKING:
    from podsquad.config.section import StageName
    from podsquad.config.settings import Settings

TRACEBACK_VARIABLE = "PODSQUAD_TRACEBACK"
_INTERRUPTED = 130
# Typer carries a click of its own and does not show this class: it is no class of the package click.
_USAGE_ERROR: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="podsquad",
    help="Retrain a question-answering model in six stages, each made once and reused.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")

ProfileOption = Annotated[str | None, typer.Option("--profile", help="Settings to begin with: demo, cpu, gpu.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting; may be repeated.")
]
RefreshOption = Annotated[
    list[str] | None, typer.Option("--refresh", metavar="STAGE", help="Run a stage in any case; may be repeated.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def run(
    profile: ProfileOption = None,
    set_: SetOption = None,
    refresh: RefreshOption = None,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="End after evaluate, or publish.")] = True,
    note: Annotated[str, typer.Option(help="Why this run is made; shown on its page in Prefect.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where the gate keeps the champion.")] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Train the same again aside, and exit with 1 if it comes out otherwise.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what a canary made.")] = False,
    json: JsonOption = False,
) -> None:
    """Retrain once: six stages, those that are made already reused."""
    from podsquad.command.run import run_retraining

    settings, overrides = _settings(profile, set_)
    if canary:
        if refresh or strict:
            raise SettingsError(
                "--canary goes with neither --refresh nor --strict",
                why="a canary runs every stage anew and publishes nothing",
                do="leave them out",
            )
        from podsquad.command.canary import run_canary

        raise typer.Exit(run_canary(settings, overrides, run_flow=_run_canary_flow, keep=keep, note=note, as_json=json))
    champion_stays = run_retraining(
        settings, overrides, _stages(refresh), run_flow=_run_flow, publish=publish, note=note, as_json=json
    )
    if strict and champion_stays:
        raise typer.Exit(1)


@app.command()
def runs(profile: ProfileOption = None, set_: SetOption = None, json: JsonOption = False) -> None:
    """List what the nights came to: scores, verdicts, versions, and what was rolled back. The newest comes first."""
    from podsquad.command.publications import show_history

    settings, _ = _settings(profile, set_)
    show_history(settings, token=lambda: _token(settings), as_json=json)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why: kept where the model is published.")],
    to: Annotated[str | None, typer.Option(metavar="TAG", help="A version; nothing: the one before.")] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Make a former version current again, and withdraw the one that is."""
    from podsquad.command.publications import roll_back

    settings, _ = _settings(profile, set_)
    roll_back(settings, to, reason, token=lambda: _token(settings), as_json=json)


@app.command()
def plan(
    profile: ProfileOption = None, set_: SetOption = None, refresh: RefreshOption = None, json: JsonOption = False
) -> None:
    """Show what would run or be reused and why, and what stands in the way. Nothing is changed."""
    from podsquad.command.show import show_plan
    from podsquad.plan import make_plan
    from podsquad.preflight import first_failure

    settings, _ = _settings(profile, set_)
    with _token(settings):
        made = make_plan(settings, dict.fromkeys(_stages(refresh), "plan"))
    show_plan(made, as_json=json)
    if failure := first_failure(made.checks):
        raise typer.Exit(failure.exit_code)


@app.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="The question.")] = None,
    context: Annotated[str | None, typer.Option(help="The text that holds the answer.")] = None,
    context_file: Annotated[Path | None, typer.Option(help="A file with that text.")] = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="Ask one question after another.")] = False,
    questions: Annotated[Path | None, typer.Option(help="Answer a file: SQuAD v1.1 JSON, also .gz.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Write its answers there in the official form: {"id": "text"}.')
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show a page on this machine to ask in.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The page's; nothing or 0: a free one.")] = None,
    model: Annotated[Path | None, typer.Option(help="A model's folder; nothing: what the profile published.")] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Answer questions about texts of any length."""
    from podsquad.command.ask import ask as ask_in_one_way

    settings, _ = _settings(profile, set_)
    ask_in_one_way(
        model,
        settings,
        token=lambda: _token(settings),
        question=question,
        context=context,
        context_file=context_file,
        interactive=interactive,
        questions=questions,
        predictions=predictions,
        serve=serve,
        port=port,
        as_json=json,
    )


@app.command()
def score(
    data: Annotated[Path, typer.Option(help="Questions: SQuAD v1.1 JSON, also .gz.")],
    predictions: Annotated[Path, typer.Option(help='Answers in the official form: {"id": "text"}.')],
    json: JsonOption = False,
) -> None:
    """Score answers by the official SQuAD v1.1 metric."""
    from podsquad.command.show import show_scores
    from podsquad.evaluation.squad_metric import score_files

    show_scores(score_files(data, predictions), as_json=json)


@app.command()
def verify(
    where: Annotated[str, typer.Argument(metavar="FOLDER|REPO[@REVISION]", help="What was published.")],
    store: Annotated[Path | None, typer.Option(help="A store: its artifacts are verified too.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A file of the questions, or demo for the demo world; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Recompute a model's receipt from what is published; with a store and the questions, down to the data."""
    from podsquad.command.verify import run_verification

    raise typer.Exit(run_verification(where, store, data or [], as_json=json))


@app.command()
def gc(
    keep: Annotated[int, typer.Option(min=1, help="Artifacts of each stage that stay, whatever their age.")] = 7,
    days: Annotated[float, typer.Option(min=0.0, help="Remove only what is older than this.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    profile: ProfileOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Remove old artifacts from the store that nothing kept was made of, what was set aside, and what a kill left."""
    from podsquad.command.gc import collect

    settings, _ = _settings(profile, set_)
    with _token(settings):
        collect(settings, keep=keep, days=days, dry_run=dry_run, as_json=json)


@app.command()
def drill(
    names: Annotated[list[str] | None, typer.Argument(metavar="[DRILL]...", help="Nothing: all of them.")] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Do harm to a tiny run in this deployment and store (kill, full-disk, hub-500, truncate-checkpoint, stale-lease).

    What the run made is removed again. Exit code 1 when something was lost.
    """
    from podsquad.command.drill import run_drills

    settings, _ = _settings(profile, set_)
    if not run_drills(settings, names or [], as_json=json):
        raise typer.Exit(1)


@config_app.command("show")
def config_show(profile: ProfileOption = None, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show every setting: its value, where it comes from, which stages it shapes."""
    from podsquad.command.show import show_settings
    from podsquad.config.load import load_settings, parse_overrides

    show_settings(load_settings(profile, parse_overrides(set_ or ()), os.environ), as_json=json)


def _run_flow(parameters: dict[str, Any]) -> dict[str, Any]:
    from flows.local import run_here

    report: dict[str, Any] = run_here(parameters)
    return report


def _run_canary_flow(parameters: dict[str, Any]) -> dict[str, Any]:
    from flows.local import run_here

    report: dict[str, Any] = run_here(parameters, is_canary=True)
    return report


@contextmanager
def _token(settings: Settings) -> Iterator[None]:
    """Let HF_TOKEN be what the Prefect Secret block that the settings name holds, for a verb that is no run."""
    if settings.publish.target != "hub" or not settings.publish.token_block:
        yield
        return
    from podsquad.command.run import prepare_prefect

    prepare_prefect(os.environ)
    from tasks.hub_token import hub_token

    with hub_token(settings.publish.token_block):
        yield


def _settings(profile: str | None, assignments: list[str] | None) -> tuple[Settings, dict[str, str]]:
    from podsquad.config.load import load_settings, parse_overrides

    overrides = parse_overrides(assignments or ())
    return load_settings(profile, overrides, os.environ).settings, overrides


def _stages(names: list[str] | None) -> list[StageName]:
    from podsquad.config.section import STAGE_NAMES

    known = {str(name): name for name in STAGE_NAMES}
    if unknown := [name for name in names or () if name not in known]:
        raise SettingsError(
            f"there is no stage {unknown[0]!r}",
            why="--refresh takes the names of the six stages",
            do="choose from: " + ", ".join(known),
        )
    return [known[name] for name in names or ()]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit with its code; errors are told in words."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(_call(arguments))
    except PodsquadError as error:
        _fail(error, arguments)
    except KeyboardInterrupt:
        print("stopped; what was done is kept", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of the output has gone; nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:  # of a temporary folder, for one: a stage's are told by the stage
        refused = from_os_error(error, "running this command", "TMPDIR=FOLDER where it is a temporary one")
        refused.do += f"; {TRACEBACK_VARIABLE}=1 shows where in the code it was refused"
        refused.__cause__ = error
        _fail(refused, arguments)
    except Exception as error:
        unforeseen = InternalError(
            f"{type(error).__name__}: {error}",
            why="podsquad did not foresee this: a bug",
            do=f"run again with {TRACEBACK_VARIABLE}=1 and report what it prints",
        )
        unforeseen.__cause__ = error
        _fail(unforeseen, arguments)


def _call(arguments: list[str]) -> Any:
    try:
        exit_code = app(args=arguments, standalone_mode=False) or 0
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            print(error.format_message())
            return 0
        raise SettingsError(
            error.format_message(),
            why="the command does not take these arguments",
            do="podsquad --help lists the verbs and their options",
        ) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if exit_code == _INTERRUPTED:  # what typer makes of a Ctrl-C, without a word
        raise KeyboardInterrupt
    return exit_code


def _fail(error: PodsquadError, arguments: list[str]) -> NoReturn:
    from podsquad.terminal import error_json, print_error, print_json

    if os.environ.get(TRACEBACK_VARIABLE):
        print(hide_secrets("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    print_error(error)
    if "--json" in arguments:
        print_json(error_json(error))
    sys.exit(error.exit_code)
