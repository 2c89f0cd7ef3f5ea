"""The Hub publisher: a version is uploaded aside, read back, asked, and then appears on main by one commit, with a tag.

1. A branch ``podsquad-candidate-...`` gets the files.
2. They are downloaded again into an empty folder; every digest is compared; a smoke question is answered from there.
3. One commit puts these very bytes on main. Its parent must be the commit that was seen at the start: a commit of
   somebody else in between is noticed and told.
4. The commit is tagged, and candidate branches are removed, left-over ones of killed runs too.

What is done is read from the repository itself, so a run that was killed at any point is simply run again: it finds
its commit by key and makes no second one. Where another version comes next, that one sees the tag of the killed run's
to its end. Readers of main, and of a tag, see whole versions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from podsquad.errors import InputMissingError, InternalError, StoreError, TemporaryError
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.hub_landing import download_listed, land
from podsquad.publishing.hub_listing import changed_files, read_tree, wrong_files
from podsquad.publishing.hub_state import (
    MAIN,
    ROLLBACK_TITLE,
    TRAILER,
    HubChampion,
    HubState,
    HubVersion,
    Refs,
    candidate_of,
    encode_withdrawn,
    read_listing,
    read_refs,
    read_state,
    stale_candidates,
)
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.target import (
    STAMP,
    WITHDRAWN_FILE,
    Publication,
    Smoke,
    TargetKind,
    check_version,
    one_line,
    refuse_withdrawn,
    tag_of,
)
from podsquad.publishing.version_files import model_of

_LEFT_OVER_AFTER = timedelta(days=1)  # another run's candidate branch is its own until then


@dataclass(frozen=True)
class HubTarget:
    """A repository as the place where models are published. ``work`` is a folder for downloads, emptied at will."""

    hub: Hub
    work: Path
    private: bool = False
    """Whether a repository that is not there yet is made private."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def kind(self) -> TargetKind:
        """Which kind of target it is."""
        return "hub"

    @property
    def place(self) -> str:
        """The repository."""
        return self.hub.repository

    def state(self) -> HubState:
        """Return what the repository holds now. Raises as ``read_state``."""
        return read_state(self.hub, self._scratch)

    def publish(self, key: str, files: Mapping[str, Path], smoke: Smoke, expected: str | None = None) -> Publication:
        """Publish ``files`` (their names to their places, README.md and receipt.json among them) as version ``key``.

        Whatever happens in between, a kill too: after the call has returned once, main had exactly one commit for this
        version and there is one tag. A version that is on main already, whole, is left as it is, whatever ``files``
        says; one that has been there before and is not now is put back from its tag. ``expected`` is the commit of main
        that the decision to publish rests on, empty for a repository that was not there; None: whatever is there.

        Raises SettingsError for a version that was withdrawn and when the Hub refuses; what ``smoke`` raises;
        TemporaryError when somebody else committed meanwhile, when the Hub fails, or when the bytes come back otherwise
        than they were sent; StoreError when a tag of that name holds another version.
        """
        check_version(key, files)
        state = self._state_of_existing()
        refuse_withdrawn(state, key, self.hub.repository)
        tag = tag_of(key)
        is_tagged = tag in state.refs.tags
        champion = self._already_on_main(state, key)
        # A repository that was not there has a first commit by now, of its making.
        moved = state.champion is not None if expected == "" else expected not in (None, state.refs.head)
        if champion is None and moved:
            raise TemporaryError(
                f"somebody else committed to {self.hub.repository} while this version was being judged",
                why=f"{MAIN} was at {expected[:12] if expected else 'nothing'} and is at {state.refs.head[:12]}",
                do="run the same command again: the gate compares with what is there now",
            )
        leaving = state.champion or state.lost
        if champion:
            commit = champion.commit
            if not is_tagged:
                # A run died between the commit and what follows it: what it did not see to the end is looked at again.
                self.hub.log(f"{tag} is on {MAIN} of {self.hub.repository} already, without its tag")
                smoke(download_listed(self.hub, champion.listing, commit, self._downloaded))
        else:
            if leaving is not None and leaving.key != key:
                self._tag_current(state)
            if is_tagged:
                commit = self._restore(state, HubVersion(key, state.refs.tags[tag]), "", smoke)
            else:
                commit = self._put_new(state, Listing.of(key, files), files, smoke)
        if not is_tagged:
            self._tag(key, commit)
        self._remove_candidates(state, key)
        return replace(self.describe(key), commit=commit)

    def rollback(self, to: str, reason: str, smoke: Smoke, expected: str | None = None) -> Publication:
        """Put the version tagged ``to`` back on main by one commit, and withdraw the one that is there.

        The files are those of the tag, byte for byte. The reason is in the commit's text and in withdrawn.json, which
        the same commit changes. A version that is on main already is left there: the call can be made again.
        ``expected`` is the commit of main that was looked at before; None: whatever is there.

        Raises SettingsError without a reason, InputMissingError when there is no such version, else as ``publish``.
        """
        reason = one_line(reason)  # the commit's text has lines of its own for programs
        state = self.state()
        known = {each.tag: each for each in state.versions}
        if to not in known:
            raise InputMissingError(
                f"{self.hub.repository} has no version {to}",
                why=f"its versions are: {', '.join(known) or 'none'}",
                do="name one of them with --to",
            )
        if (champion := self._already_on_main(state, known[to].key)) is not None:
            self._remove_candidates(state, known[to].key)
            return replace(self.describe(known[to].key), commit=champion.commit)
        if expected not in (None, state.refs.head):
            raise TemporaryError(
                f"somebody else committed to {self.hub.repository} just now",
                why=f"{MAIN} is at {state.refs.head[:12]}: what is current there is no longer what was looked at",
                do="look at what podsquad runs tells, and roll back again if that is still wanted",
            )
        self._tag_current(state)
        commit = self._restore(state, known[to], reason, smoke)
        self._remove_candidates(state, known[to].key)
        return replace(self.describe(known[to].key), commit=commit)

    def settle(self) -> None:
        """See to its end what a killed publisher left undone: main's version gets its tag, candidate branches go.

        What is on main stays as it is. Raises what the Hub's failing raises.
        """
        state = self.state()
        if current := state.champion or state.lost:
            self._tag_current(state)
            self._remove_candidates(state, current.key)

    def describe(self, key: str) -> Publication:
        """Return where a version is, or would be; the Hub is not asked. Without a key that of the place alone."""
        tag = tag_of(key) if key else ""
        url = f"{self.hub.url}/tree/{tag}" if key else ""
        return Publication("hub", self.hub.repository, key, tag, url, self.hub.url)

    def fetch(self, tag: str, folder: Path, names: Iterable[str] | None = None) -> Listing:
        """Download a version, by tag, branch or commit, into a folder that is emptied first; digests are compared.

        With ``names`` only those of its files. Returns the whole listing. Raises InputMissingError when podsquad
        published nothing there, TemporaryError when the bytes differ.
        """
        listing, revision = read_listing(self.hub, tag, self._scratch), tag
        if listing is None and (champion := self.state().champion) and champion.tag == tag:
            listing, revision = champion.listing, champion.commit  # its run was killed before it tagged it
        if listing is None:
            raise InputMissingError(
                f"podsquad published nothing at {tag} of {self.hub.repository}",
                why=f"there is no such tag, branch or commit, or it has no {FILES_FILE}",
                do="check publish.repository; podsquad runs lists what was published",
            )
        wanted = set(listing.files) & set(listing.files if names is None else names)
        download_listed(
            self.hub,
            replace(listing, files={name: listing.files[name] for name in sorted(wanted)}),
            revision,
            folder,
        )
        return listing

    def why_not_held(self, key: str) -> str:
        """Say why main does not hold this version, tagged and with all of its files; empty when it does."""
        refs = read_refs(self.hub)
        if refs and refs.tags.get(tag_of(key)) == refs.head:
            return ""  # nothing came to main since: one call tells
        state = self.state()
        champion = state.champion
        if champion is None or champion.key != key:
            return f"{self.hub.url} does not hold this version"
        if changed := changed_files(self.hub, champion.listing, champion.commit, state.refs.head):
            return f"{', '.join(changed)} of {self.hub.url} changed since"
        return "" if tag_of(key) in state.refs.tags else f"{self.hub.url} has no tag {tag_of(key)}"

    @property
    def _downloaded(self) -> Path:
        return self.work / "downloaded"

    @property
    def _scratch(self) -> Path:
        return self.work / "looked-at"

    def _state_of_existing(self) -> HubState:
        state = self.state()
        if not state.exists:
            self.hub.log(f"making the {'private ' if self.private else ''}repository {self.hub.url}")
            self.hub.call(
                f"making the repository {self.hub.repository}",
                self.hub.api.create_repo,
                private=self.private,
                exist_ok=True,
            )
            state = self.state()
        if not state.exists:
            raise TemporaryError(
                f"{self.hub.url} is not there after it was made",
                why="the Hub is slow to show it, or the token may make repositories but not see this one",
                do="run the same command again; if it stays, check the token's rights",
            )
        return state

    def _already_on_main(self, state: HubState, key: str) -> HubChampion | None:
        """Return the version on main if it is this one, whole."""
        champion = state.champion
        if champion is None or champion.key != key:
            return None
        changed = changed_files(self.hub, champion.listing, champion.commit, state.refs.head)
        if changed:
            self.hub.log(f"{', '.join(changed)} of {self.hub.url} were changed since they were published")
        return None if changed else champion

    def _put_new(self, state: HubState, listing: Listing, files: Mapping[str, Path], smoke: Smoke) -> str:
        """Return the commit on main of a version that was never there."""
        hub, head = self.hub, state.refs.head
        self._remove_candidates(state, listing.key)
        candidate = candidate_of(listing.key, self.now().strftime(STAMP))
        hub.call(
            f"making the branch {candidate}", hub.api.create_branch, branch=candidate, revision=head, exist_ok=True
        )
        removed = self._to_remove(state, listing)
        sent: dict[str, Path | bytes] = {**files, FILES_FILE: listing.encode()}
        title, text = f"Publish {tag_of(listing.key)}", f"{TRAILER}{listing.key}"
        aside = land(hub, candidate, head, sent, removed, (title, text), listing.key)
        hub.log(f"uploaded {len(sent)} files to {candidate}; downloading them again")
        folder = download_listed(hub, listing, aside, self._downloaded)
        smoke(folder)
        return self._commit_on_main(state, listing, folder, removed, (title, text), {})

    def _restore(self, state: HubState, version: HubVersion, reason: str, smoke: Smoke) -> str:
        """Put a tagged version on main again; with a reason, the one that is there is withdrawn."""
        folder = self._downloaded
        listing = self.fetch(version.tag, folder)
        if listing.key != version.key:
            raise StoreError(
                f"the tag {version.tag} of {self.hub.repository} holds another version, of key {listing.key}",
                why="somebody moved the tag, or two keys share their first 12 digits",
                do="publish to another repository with --set publish.repository=OWNER/NAME",
            )
        smoke(folder)
        withdrawn = {tag: each for tag, each in state.withdrawn.items() if tag != version.tag}
        title, text = f"Publish {version.tag} again", ""
        leaving = state.champion or state.lost
        if reason and leaving is not None and leaving.key != version.key:
            at = self.now().strftime(STAMP)
            model = {"model": model_of(state.champion.listing)} if state.champion else {}
            withdrawn[leaving.tag] = {"reason": reason, "restored": version.tag, "at": at, **model}
            title, text = ROLLBACK_TITLE.format(leaving.tag, version.tag), f"{reason}\n\n"
        own = {WITHDRAWN_FILE: encode_withdrawn(withdrawn)} if withdrawn != state.withdrawn else {}
        removed = self._to_remove(state, listing)
        message = (title, f"{text}{TRAILER}{version.key}")
        return self._commit_on_main(state, listing, folder, removed, message, own)

    def _tag_current(self, state: HubState) -> None:
        """Tag the version on main where its run was killed before it did: by its tag it is brought back later."""
        current = state.champion or state.lost
        if current is not None and current.tag not in state.refs.tags:
            self._tag(current.key, current.commit)

    def _tag(self, key: str, commit: str) -> None:
        tag, create = tag_of(key), self.hub.api.create_tag
        self.hub.call(f"tagging {tag}", create, tag=tag, revision=commit, tag_message=key, exist_ok=True)

    def _commit_on_main(
        self,
        state: HubState,
        listing: Listing,
        folder: Path,
        removed: list[str],
        message: tuple[str, str],
        own: Mapping[str, bytes],
    ) -> str:
        sent: dict[str, Path | bytes] = {name: folder / name for name in listing.files}
        sent |= {FILES_FILE: listing.encode(), **own}
        commit = land(self.hub, MAIN, state.refs.head, sent, removed, message, listing.key)
        if wrong := wrong_files(self.hub, listing, commit, folder):
            raise InternalError(
                f"{', '.join(wrong)} of {self.hub.repository} at {commit[:12]} are not what was committed",
                why="the Hub holds other bytes than it was given, though they read back well before",
                do=f"look at {self.hub.url}/tree/{commit}, and publish again",
            )
        self.hub.log(f"committed {commit[:12]} to {self.hub.url}")
        return commit

    def _to_remove(self, state: HubState, listing: Listing) -> list[str]:
        """Return what is on main from its version and is none of this one's; the files of others stay.

        Those of this one's names that are on main and are nobody's we know are told: they are replaced.
        """
        here = set(read_tree(self.hub, state.refs.head))
        former = set(state.champion.listing.files) if state.champion else set()
        if strange := sorted(here & set(listing.files) - former):
            self.hub.log(f"{', '.join(strange)} of {self.hub.url} are not podsquad's and are replaced")
        return sorted(here & former - set(listing.files))

    def _remove_candidates(self, state: HubState, key: str) -> None:
        """Remove the branches of this version, of those that were or had been current in ``state``, and old ones."""
        refs = read_refs(self.hub) or Refs({}, {})
        oldest = (self.now() - _LEFT_OVER_AFTER).strftime(STAMP)
        current = state.champion or state.lost
        tags = {tag_of(key), *state.withdrawn, *((current.tag,) if current else ())}
        for name in stale_candidates(refs.branches, tags, oldest):
            # None: another run was quicker.
            self.hub.find(f"removing the branch {name}", self.hub.api.delete_branch, branch=name)
