"""Which target the settings name, or a publication's record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from podsquad.config.publish_settings import PublishSettings
from podsquad.errors import SettingsError
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub import HubTarget
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.target import Publication, Target


@contextmanager
def target_of(
    settings: PublishSettings, log: Callable[[str], None] = lambda line: None, work: Path | None = None
) -> Iterator[Target]:
    """Yield the target that the settings name. Raises SettingsError for the Hub without a repository.

    What comes from the Hub is read back in a folder below ``work``, where a version has room; without it in the
    system's temporary folder.
    """
    if settings.target == "folder":
        yield FolderTarget(settings.folder, settings.name, log)
        return
    with tempfile.TemporaryDirectory(prefix="podsquad-hub-", dir=work) as folder:
        yield HubTarget(hub_of(settings, log), Path(folder), settings.private)


@contextmanager
def target_at(publication: Publication) -> Iterator[Target]:
    """Yield the target that a record names, to look at. A token comes from the environment, as the Hub's address."""
    if publication.target == "folder":
        home = Path(publication.place)
        yield FolderTarget(home.parent, home.name)
        return
    with tempfile.TemporaryDirectory(prefix="podsquad-hub-") as work:
        yield HubTarget(Hub(publication.place), Path(work))


def hub_of(settings: PublishSettings, log: Callable[[str], None] = lambda line: None) -> Hub:
    """Return the repository that the settings name. Raises SettingsError where they name none."""
    if not settings.repository:
        raise SettingsError(
            "publish.target is hub, and publish.repository is not set",
            why="a model that goes to the Hub needs a repository",
            do="set it with --set publish.repository=OWNER/NAME or PODSQUAD_PUBLISH__REPOSITORY, or publish to a "
            "folder with --set publish.target=folder",
        )
    return Hub(settings.repository, log=log)
