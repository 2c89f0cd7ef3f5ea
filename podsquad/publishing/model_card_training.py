"""How a model was made, for its card: data, procedure, the command that makes it again, settings, versions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from podsquad.config.fields import settings_fields
from podsquad.config.load import flat, profile_values
from podsquad.config.settings import Settings
from podsquad.publishing.model_card_words import is_hub_name, public, shown, table

_TORCH_ALONE = ("micro_batch_tokens", "max_gradient_norm", "balanced")  # of the training's settings
_FIGURES = (
    ("steps", "optimizer steps", "{:,}"),
    ("mean_loss", "mean loss", "{:.4f}"),
    ("final_loss", "loss of the last step", "{:.4f}"),
    ("seconds", "time", "{:,.1f} s"),
    ("samples_per_second", "features per second", "{:,.1f}"),
    ("num_parameters", "parameters", "{:,}"),
)


def tell_data(origin: Mapping[str, Any], report: Mapping[str, Any], layout: Mapping[str, Any] | None) -> str:
    """Return where the questions come from, and how many of each split were used."""
    rows = []
    for split, counts in report["splits"].items():
        checksum = origin.get("splits", {}).get(split, {}).get("records_sha256", "")
        features = (layout or {}).get("splits", {}).get(split, {}).get("num_features")
        rows.append(
            (
                split,
                f"{counts['kept']:,}",
                f"{counts['contexts']:,}",
                f"{counts['quarantined']:,}",
                f"{features:,}" if isinstance(features, int) else "-",
                f"`{checksum[:16]}`" if checksum else "-",
            )
        )
    told = {
        "hub": f"`{origin.get('dataset')}` at revision `{origin.get('revision')}`.",
        "demo": f"A world of made-up facts, generated from seed {origin.get('seed')}; nothing in it is real.",
        "files": "Files in the layout of SQuAD v1.1; SHA-256 "
        + ", ".join(f"{split} `{file['sha256']}`" for split, file in origin.get("files", {}).items())
        + ".",
    }
    head = ("split", "questions", "paragraphs", "set aside", "features", "SHA-256 of the records")
    return told.get(str(origin.get("source")), "") + "\n\n" + table(head, rows)


def tell_procedure(settings: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Return how the training went, on what, and how long it took there; an emulation says so."""
    recipe = settings["training"]
    rows = [("hardware", _hardware(training))]
    for key, label, form in _FIGURES:
        value = training.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            emulated = ", emulated: not an IPU's" if key in ("seconds", "samples_per_second") else ""
            rows.append((label, form.format(value) + (emulated if training.get("emulated") else "")))
    epochs = f"{recipe['epochs']} epoch{'s' if recipe['epochs'] != 1 else ''}"
    return (
        f"{epochs} in batches of {recipe['batch_size']} features, AdamW, the learning rate rising over "
        f"{recipe['warmup_share']:.0%} of the steps and falling linearly to 0.\n\n" + table(("what", "value"), rows)
    )


def tell_command(settings: Mapping[str, Any], training: Mapping[str, Any], version: str) -> str:
    """Return the command that makes the model again, and how equal it comes out."""
    lines = [f"podsquad run --profile {settings['profile']}"]
    lines += [f"  --set {assignment}" for assignment in changed_settings(settings)]
    command = " \\\n".join(lines)
    # Where it is tested: one process on a CPU or on a CUDA device. On IPUs it was not.
    is_exact = training.get("device") in ("cpu", "cuda") and training.get("processes", 1) == 1
    outcome = (
        "it gives the same weights, byte for byte."
        if is_exact
        else "it trains in the same way; whether every byte comes out the same there was not shown."
    )
    return (
        f"```\n{command}\n```\n\n"
        f"With podsquad {version}, the libraries below and the hardware above {outcome} Words in capitals stand for "
        "files and folders of the trainer. `receipt.json` names everything by checksum, and `podsquad verify` checks "
        "it."
    )


def changed_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return what differs from the profile and shapes the model, as ``section.field=value`` for a shell."""
    given = flat(settings)
    usual = flat(Settings().model_dump(mode="json")) | profile_values(settings["profile"])
    found = []
    for name, field in settings_fields().items():
        shapes = {*field.shapes, *field.ipu_shapes} - {"publish"}
        if name in given and shapes and given[name] != usual.get(name):
            found.append(shlex.quote(f"{name}={_assigned(name, given[name], is_content=field.is_content)}"))
    return found


def tell_hyper_parameters(settings: Mapping[str, Any]) -> str:
    """Return the settings that shape training and features, but those that this runtime does not read."""
    rows = []
    is_ipu = settings.get("runtime", {}).get("name") == "ipu"
    for section in ("training", "ipu", "features") if is_ipu else ("training", "features"):
        for key, value in settings[section].items():
            if key in ("workers", "checkpoint_interval_steps", "hosts", "partition", "config_file"):
                continue  # they alter no number
            if is_ipu and key in _TORCH_ALONE:
                continue
            if key == "vocab_size" and settings[section]["tokenizer"] != "train":
                continue  # the tokenizer brings its own
            rows.append((f"{section}.{key}", public(value) if key == "tokenizer" else shown(value)))
    return table(("setting", "value"), rows)


def tell_versions(training: Mapping[str, Any]) -> str:
    """Return the versions of the libraries that trained."""
    versions = training.get("versions")
    if not isinstance(versions, Mapping) or not versions:
        return "Versions were not recorded."
    return table(("library", "version"), [(str(key), str(versions[key])) for key in sorted(versions)])


def _hardware(training: Mapping[str, Any]) -> str:
    name = training.get("device_name") or training.get("device")
    if not name:
        return "not recorded"
    told = str(name)
    if training.get("emulated") and "emulated" not in told:
        told += ", emulated"
    if (training.get("device") == "cpu" or training.get("emulated")) and "threads" in training:
        told += f", {training['threads']} threads"
    return told


def _assigned(name: str, value: Any, *, is_content: bool) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    text = str(value)
    if is_content and not is_hub_name(text) and not re.fullmatch(r"[\w-]+", text):
        return name.partition(".")[2].upper()
    return text
