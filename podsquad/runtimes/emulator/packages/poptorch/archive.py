"""Executables on disk: ``compileAndExport``, ``save``, ``loadExecutable`` and ``load``.

A file is a zip: ``metadata.json`` (that it is emulated, versions, the executable's identity), ``inputs.pt`` (shapes
and types of the inputs, and the values of what is no tensor), and where the model was exported ``model.pt``.
``loadExecutable`` reads the first two, without unpickling objects. ``load`` restores the user's own model object and
must therefore unpickle it: load only files that you made.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass
from typing import Any, Optional

import torch

from ._logging import logger
from .arguments import Arguments
from .errors import createPoptorchError

_FORMAT = "podsquad emulated executable 1"


@dataclass
class Exported:
    """What a file holds beside the metadata, when the model was exported with it."""

    model: Any
    options: Any
    training: bool
    optimizer: Any
    optimizer_state: Any
    rng_state: Optional[list[int]]


def path_for(filename: str) -> str:
    """Where an executable goes: a folder gets ``model.poptorch``; missing folders are made."""
    folder = os.path.dirname(filename)
    if folder and os.path.exists(folder):
        assert os.path.isdir(folder), "{} is a file, no folder to save to".format(folder)
    elif folder:
        os.makedirs(folder)
    if os.path.isdir(filename):
        path = os.path.join(filename, "model.poptorch")
        logger.warning("%s is a folder: the executable goes to %s", filename, path)
        return path
    return filename


def write(path: str, version: str, digest: str, inputs: Arguments, exported: Optional[Exported]) -> None:
    """Write an executable; it appears whole or not at all."""
    metadata = {"format": _FORMAT, "emulated": True, "version": version, "torch": torch.__version__, "graph": digest}
    temporary = "{}.{}.part".format(path, os.getpid())
    with zipfile.ZipFile(temporary, "w") as file:
        file.writestr("metadata.json", json.dumps(metadata, indent=1))
        file.writestr("inputs.pt", _saved((inputs.args, inputs.names, inputs.kwargs)))
        if exported is not None:
            file.writestr("model.pt", _saved(vars(exported)))
    os.replace(temporary, path)


def read(path: str, version: str) -> tuple[str, Arguments]:
    """The graph's identity and the inputs. Raises Error for another file or another version's."""
    try:
        with zipfile.ZipFile(path) as file:
            metadata = json.loads(file.read("metadata.json"))
            saved = file.read("inputs.pt")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise createPoptorchError("{} is no executable of this emulation: {}".format(path, error)) from error
    if metadata.get("format") != _FORMAT or metadata.get("version") != version:
        raise createPoptorchError(
            "{} was written by version {} of this emulation, this is {}: compile again".format(
                path, metadata.get("version"), version
            )
        )
    args, names, kwargs = torch.load(io.BytesIO(saved), weights_only=True)
    return str(metadata["graph"]), Arguments(args, names, kwargs)


def read_model(path: str) -> Optional[Exported]:
    """The exported model, if there is one. Unpickles: see the module."""
    with zipfile.ZipFile(path) as file:
        if "model.pt" not in file.namelist():
            return None
        return Exported(**torch.load(io.BytesIO(file.read("model.pt")), weights_only=False))


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
