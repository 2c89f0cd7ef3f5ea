"""Read something from a Hub that fails in each way in turn: run as a program with a folder and what to read.

One JSON line for each fault: the error's class and parts, all that can be printed of it, the seconds waited, and what
the same came to when the Hub was well again. A process of its own: the clients read the Hub's address at import.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podsquad.drill.hub_server import REVISION, Fault, HubServer
from tests.faults.telling import everything_told_by, files_with_token

FAULTS = {
    "401": Fault("status", 401),
    "403": Fault("status", 403),
    "404": Fault("status", 404, {"X-Error-Code": "RepoNotFound"}),
    "429": Fault("status", 429, {"Retry-After": "7"}),
    "500": Fault("status", 500),
    "503": Fault("status", 503),
    "a file": Fault("status", 500, path=r"/resolve/.*(train|tokenizer\.json|safetensors)"),
    "never": Fault("never", path="/resolve/"),
    "unlisted": Fault("never", path="/api/"),
    "an hour": Fault("status", 429, {"Retry-After": "3600"}),
    "an hour's limit": Fault("status", 429, {"RateLimit": '"resolvers";r=0;t=3600'}),
    # Twice: the client's first question for a file is not asked again, its second is, after the wait.
    "a short limit": Fault("status", 429, {"RateLimit": '"resolvers";r=0;t=6'}, path="/resolve/", times=2),
    "a page": Fault("status", 200, {"Content-Type": "text/html"}, b"<html>Sign in here</html>"),
    "a page listed": Fault("status", 200, {"Content-Type": "text/html"}, b"<html>Sign in here</html>", path="/api/"),
    "other JSON": Fault("status", 200, {"Content-Type": "application/json"}, b'{"ok": true}', path="/api/"),
    "cut": Fault("cut"),
    "half": Fault("half", path=r"/resolve/.*(train|tokenizer\.json|config\.json|safetensors)"),
    "slow": Fault("slow"),
}
REPOSITORY = "ada/lovelace"
MODEL = {"base": REPOSITORY, "revision": REVISION, "dropout": None}
LAYOUT = {"vocab_size": 1000, "max_length": 64, "pad_token_id": 1, "uses_token_types": False}
# Of the client's patience, in seconds: a slow answer takes longer as a whole, each of its pieces less.
BOUNDS = {"never": 0.1, "slow": 0.5}


def main(folder: Path, what: str, content: Path) -> None:
    with HubServer({REPOSITORY: content}) as hub:
        os.environ.update(HF_ENDPOINT=hub.endpoint, HF_HOME=str(folder / "hub"), HF_HUB_DISABLE_XET="1")
        os.environ.update(HF_DATASETS_CACHE=str(folder / "data"), HF_HUB_DISABLE_PROGRESS_BARS="1")
        os.environ.pop("HF_HUB_OFFLINE", None)
        waits: list[float] = []
        time.sleep = waits.append  # type: ignore[assignment]
        os.fsync = lambda handle: None  # slow; what outlives a power cut is tests/store's matter
        patience = _be_hasty(hub)
        read = READERS[what](folder)
        for name, fault in FAULTS.items():
            waits.clear()
            patience.clear()
            hub.fail(fault)
            told: dict[str, Any] = {"fault": name, **attempt(read)}
            told |= {"waited": sum(waits), "met": hub.num_met, "patience": list(patience)}
            home = folder / "store" / STAGE_OF.get(what, "none")
            told["kept"] = [path.name for path in home.glob("[!.]*")]
            hub.fail(None)
            told["then"] = attempt(read)
            told["holding"] = [str(path) for path in files_with_token(folder)]
            print(json.dumps(told), flush=True)
            for cache in ("hub", "data", "store"):
                shutil.rmtree(folder / cache, ignore_errors=True)


def _be_hasty(hub: HubServer) -> list[float | None]:
    """Let the client give a Hub that never answers a tenth of a second, and a slow one a half, below podsquad's bounds.

    Returns a list that gets what it would have given each request that met the fault, in seconds; None: no end.
    """
    patience: list[float | None] = []
    import huggingface_hub
    from huggingface_hub.utils import _http

    def bound(path: str, given: float | None) -> float | None:
        seconds = BOUNDS.get(hub.fault.do) if hub.fault else None
        if hub.fault and seconds and re.search(hub.fault.path, path):
            patience.append(given)
        return seconds or given

    def make_client() -> Any:
        class Hasty(_http.httpx2.HTTPTransport):  # type: ignore[misc, name-defined]
            def handle_request(self, request: Any) -> Any:
                given = request.extensions["timeout"]
                seconds = bound(request.url.path, given["read"])
                if seconds != given["read"]:
                    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
                return super().handle_request(request)

        client = made_by_default()
        client._transport = Hasty()
        return client

    def make_session() -> Any:  # of the IPU runtime's client
        session = made_by_default()
        for adapter in session.adapters.values():
            adapter.send = _with_timeout(adapter.send, bound)
        return session

    if hasattr(huggingface_hub, "set_client_factory"):
        made_by_default = _http.default_client_factory
        _http.default_client_factory = make_client
        huggingface_hub.set_client_factory(make_client)
    else:
        made_by_default = _http._default_backend_factory
        _http._default_backend_factory = make_session
        huggingface_hub.configure_http_backend(make_session)
    return patience


def _with_timeout(send: Callable[..., Any], bound: Callable[[str, float | None], float | None]) -> Callable[..., Any]:
    def sending(request: Any, **options: Any) -> Any:
        return send(request, **{**options, "timeout": bound(request.path_url, options.get("timeout"))})

    return sending


def attempt(read: Callable[[], str]) -> dict[str, Any]:
    from podsquad.errors import PodsquadError

    try:
        return {"made": read()}
    except PodsquadError as error:
        parts = {"kind": type(error).__name__, "what": error.what, "why": error.why, "do": error.do}
        return {**parts, "told": everything_told_by(error)}


def _stage(folder: Path, stage: Any, **changes: Any) -> Callable[[], str]:
    from podsquad.stages.run import run_stage
    from tests.faults.place import Told, tiny_settings

    settings = tiny_settings(folder, **changes)

    def read() -> str:
        inputs = {}
        if stage == "tokenize":
            inputs["download"] = run_stage("download", settings, {}, reporter=Told()).artifact
        return run_stage(stage, settings, inputs, reporter=Told()).artifact.digest

    return read


def dataset(folder: Path) -> Callable[[], str]:
    return _stage(folder, "download", data__source="hub", data__hub_dataset=REPOSITORY, data__hub_revision=REVISION)


def tokenizer(folder: Path) -> Callable[[], str]:
    return _stage(folder, "tokenize", features__tokenizer=REPOSITORY, features__tokenizer_revision=REVISION)


def base(folder: Path) -> Callable[[], str]:
    from podsquad.runtimes.torch.model import build_model, load_config

    def read() -> str:
        made = build_model(MODEL, load_config(MODEL, LAYOUT), seed=1, formulation="padded")
        return str(sum(float(parameter.detach().sum()) for parameter in made.roberta.parameters()))

    return read


def ipu_base(folder: Path) -> Callable[[], str]:
    from podsquad.runtimes.ipu.model import build_model, load_config

    def read() -> str:
        made = build_model(MODEL, load_config(MODEL, LAYOUT), seed=1)
        return str(sum(float(parameter.detach().sum()) for parameter in made.roberta.parameters()))

    return read


READERS = {"dataset": dataset, "tokenizer": tokenizer, "base": base, "ipu_base": ipu_base}
STAGE_OF = {"dataset": "download", "tokenizer": "tokenize"}

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
