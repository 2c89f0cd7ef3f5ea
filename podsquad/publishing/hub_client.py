"""Calls to the Hugging Face Hub that end: each with a bound on its waiting, errors in podsquad's words, no token told.

The bounds are those of ``podsquad.hub_waits``. The genuine client tries again what it sends and fetches of large files
by itself; the other calls are tried again here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podsquad.errors import DataError, PodsquadError, TemporaryError
from podsquad.hub_errors import Wording, explain_hub_error, status_of
from podsquad.hub_waits import asked_wait, bound_hub_waits
from podsquad.store.contents import is_plain_name

ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Hub:
    """One repository on one Hub, seen with one token, which no representation of this object shows."""

    repository: str
    endpoint: str | None = None
    """Address of the Hub; None: what HF_ENDPOINT says, else huggingface.co."""
    token: str | None = field(default=None, repr=False)
    """None: what HF_TOKEN or huggingface_hub's login file says."""
    log: Callable[[str], None] = field(default=lambda line: None, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def api(self) -> Any:
        """The genuine client, with bounded waits."""
        import huggingface_hub
        from huggingface_hub.utils.tqdm import disable_progress_bars

        bound_hub_waits()
        disable_progress_bars()
        return huggingface_hub.HfApi(
            endpoint=self.endpoint, token=self.token, library_name="podsquad", library_version=_version()
        )

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        return f"{self.api.endpoint}/{self.repository}"

    @property
    def has_token(self) -> bool:
        """Tell whether there is a token to send."""
        return bool(self.token or _saved_token())

    def call(self, doing: str, function: Callable[..., Any], *, once: bool = False, **arguments: Any) -> Any:
        """Return ``function(repo_id=..., **arguments)``; what fails and often heals is tried again, unless ``once``.

        ``doing`` completes "while". Raises as ``explain_hub_error`` says; an answer that makes no sense is a
        TemporaryError. The error that is raised has no chain: the client's frames hold the token.
        """
        wait = _FIRST_WAIT_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return function(repo_id=self.repository, **arguments)
            except Exception as error:
                failure, asked = self._explain(error, doing), _asked_wait(error)
            # One with a traceback was raised by a bound of ours within the client: it has waited enough.
            if once or not failure.heals or failure.__traceback__ or attempt == ATTEMPTS:
                break
            self.log(f"{failure.what}; attempt {attempt} of {ATTEMPTS}, the next in {asked or wait:g} s")
            self.sleep(asked or wait)
            wait *= 2
        raise failure.with_traceback(None)

    def find(self, doing: str, function: Callable[..., Any], **arguments: Any) -> Any:
        """Return what ``call`` returns; None when the Hub says that there is no such thing (404)."""
        absent = object()

        def look(**given: Any) -> Any:
            try:
                return function(**given)
            except Exception as error:
                if status_of(error) == 404:
                    return absent
                raise

        found = self.call(doing, look, **arguments)
        return None if found is absent else found

    def read(self, name: str, revision: str, scratch: Path) -> bytes | None:
        """Return the bytes of a small file at a revision; None when there is no such file."""
        self._refuse_outside([name])
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            found = self.find(
                f"reading {name} of {self.repository}",
                self.api.hf_hub_download,
                filename=name,
                revision=revision,
                local_dir=scratch,
                force_download=True,
            )
            return Path(found).read_bytes() if found is not None else None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def download(self, names: Iterable[str], revision: str, folder: Path) -> None:
        """Fetch these files at a revision into a folder that is emptied first. Nothing is taken from a cache.

        Raises DataError for a name that leads out of the folder; then nothing is fetched.
        """
        names = sorted(names)
        self._refuse_outside(names)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in names:
            self.call(
                f"downloading {name} of {self.repository}",
                self.api.hf_hub_download,
                filename=name,
                revision=revision,
                local_dir=folder,
                force_download=True,
            )
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes

    def commit(
        self,
        branch: str,
        files: Mapping[str, Path | bytes],
        removed: Sequence[str],
        message: tuple[str, str],
        parent: str,
    ) -> str:
        """Put one commit on a branch whose head is ``parent``, title and text in ``message``, and return its id.

        Tried once: whether a commit that failed took place is for the caller to find out.
        """
        import huggingface_hub

        operations: list[Any] = [
            huggingface_hub.CommitOperationAdd(name, source) for name, source in sorted(files.items())
        ]
        operations += [huggingface_hub.CommitOperationDelete(name, is_folder=False) for name in removed]
        made = self.call(
            f"committing to {branch} of {self.repository}",
            self.api.create_commit,
            once=True,
            operations=operations,
            revision=branch,
            commit_message=message[0],
            commit_description=message[1],
            parent_commit=parent,
        )
        return str(made.oid)

    def _refuse_outside(self, names: Iterable[str]) -> None:
        for name in names:
            if not is_plain_name(name):
                raise DataError(
                    f"{self.repository} has a file named {name!r}",
                    why="it would be written outside the folder that files are fetched into",
                    do=f"look at {self.url}: podsquad puts no such file there",
                )

    def _explain(self, error: Exception, doing: str) -> PodsquadError:
        failure = explain_hub_error(error, self._wording(doing))
        for token in (self.token, _saved_token()):
            if token and token in str(failure):  # of a kind that hide_secrets does not know
                what, why, do = (text.replace(token, "***") for text in (failure.what, failure.why, failure.do))
                failure = type(failure)(what, why=why, do=do)
        return failure

    def _wording(self, doing: str) -> Wording:
        return Wording(
            what=f"{doing} failed",
            doing=doing,
            refused=f"give a token that may write to {self.repository} in HF_TOKEN, or log in with: hf auth login",
            missing="check publish.repository; a private one is not there for a token without a right to it",
            offline="unset HF_HUB_OFFLINE for one run, or use publish.target=folder",
            unreachable="run the same command again later: what is done already is not done again",
            other="run the same command again; if it stays, look at the repository's page",
            other_kind=TemporaryError,
        )


def _saved_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _asked_wait(error: BaseException) -> float | None:
    return asked_wait(getattr(error, "response", None))


def _version() -> str:
    from podsquad import __version__

    return __version__
