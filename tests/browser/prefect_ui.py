"""Prefect's UI as a person uses it: what they click, fill in and read on its pages (V2, which is its default)."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.deployments.place import Place, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page

PICTURES_VARIABLE = "PODSQUAD_PICTURES"  # a folder for pictures of the pages; make screenshots sets it
RUN_SECONDS = 900.0  # for a small run, on a slow machine at work
_MARGIN_PIXELS = 12
_SETTLE_SECONDS = 4.0  # for the graph, which moves to its place; no test waits for that


class PrefectUI:
    """One window, on the UI of a place's server."""

    def __init__(self, page: Page, place: Place) -> None:
        self.page = page
        self.place = place
        self.main = page.get_by_role("main")
        folder = os.environ.get(PICTURES_VARIABLE)
        self._pictures = Path(folder).absolute() if folder else None

    def open_deployment(self, name: str) -> None:
        """Go there from the UI's first page."""
        self.page.goto(self.place.url)
        self.page.get_by_role("link", name="Deployments", exact=True).click()
        self.main.get_by_role("link", name=name, exact=True).click()

    def open_form(self, deployment: str) -> None:
        """Open the form that starts a run."""
        self.open_deployment(deployment)
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def field(self, name: str) -> Locator:
        """Return a field of the form."""
        return self.page.get_by_label(f"{name} (Optional)", exact=True)

    def choose(self, name: str, *values: str) -> list[str]:
        """Choose values of a field, and return all that it offers."""
        self.page.get_by_role("button", name=f"Select {name}").click()
        box = self.page.get_by_role("listbox")
        box.get_by_role("option").first.wait_for()
        offered = box.get_by_role("option").all_inner_texts()
        for value in values:
            box.get_by_role("option", name=value, exact=True).click()
        self.page.keyboard.press("Escape")
        box.wait_for(state="hidden")
        return offered

    def set_overrides(self, text: str) -> None:
        """Write into the box of all other settings."""
        box = self.page.locator(".cm-content").last
        box.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def submit(self) -> str:
        """Send the form, which must be taken, and return the run's id.

        The server is asked for it: the page's own note with a link stays for seconds only.
        """
        before = self._run_ids()
        self.page.get_by_role("button", name="Submit").click()
        try:
            wait_until("the form is taken", lambda: self._run_ids() - before)
        except AssertionError as error:
            raise AssertionError(f"{error}; the form says: {self.page.locator('body').inner_text()}") from error
        (run_id,) = self._run_ids() - before
        return run_id

    def _run_ids(self) -> set[str]:
        return {str(each["id"]) for each in self.place.call("POST", "/flow_runs/filter", {})}

    def open_run(self, run_id: str) -> None:
        """Go to a run's page."""
        self.page.goto(f"{self.place.url}/v2/runs/flow-run/{run_id}")
        self.tab("Logs")

    def tab(self, name: str) -> Locator:
        """Turn to a tab of the page and return what it shows."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        return self.page.get_by_role("tabpanel", name=name, exact=True)

    def wait_for_state(self, name: str) -> None:
        """Wait until the run's page shows a state of that name; it changes there without being asked."""
        self.tab("Logs")  # its own states would be taken for the run's on the tab of the task runs
        try:
            self.main.get_by_text(name, exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.main.aria_snapshot()}\n{self.place.log('worker')[-3000:]}") from None

    def stages(self) -> list[tuple[str, str]]:
        """Return name and state of each of the run's tasks, the newest first."""
        cards = self.tab("Task Runs").locator("li").filter(has=self.page.locator("nav"))
        cards.first.wait_for()
        texts = [card.inner_text().split("\n") for card in cards.all()]  # flow, run, task, state, time, duration
        return [(lines[2], lines[3]) for lines in texts]

    def artifacts(self) -> list[tuple[str, str]]:
        """Return key and description of each artifact that the run's page shows."""
        cards = self.tab("Artifacts").get_by_role("link")
        cards.first.wait_for()
        texts: list[list[str]] = []

        def are_whole() -> bool:  # a description comes a moment after the rest: kind, key, time, "Created"
            texts[:] = [card.inner_text().split("\n") for card in cards.all()]
            return all(lines[-1] != "Created" for lines in texts)

        wait_until("every artifact has its description", are_whole)
        return [(lines[2], lines[-1]) for lines in texts]

    def open_artifact(self, key: str) -> Locator:
        """Go to an artifact of the run and return what its page shows."""
        named = self.page.get_by_role("heading", name=key, exact=True)
        self.tab("Artifacts").get_by_role("link").filter(has=named).first.click()
        return self.page.get_by_role("tabpanel", name="Artifact", exact=True)

    def choose_action(self, name: str) -> None:
        """Choose an entry of the menu of three dots on the run's page."""
        self.page.get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name=name, exact=True).click()

    def retry(self) -> None:
        """Press Retry, and again in the dialog that asks."""
        self.choose_action("Retry")
        dialog = self.page.get_by_role("alertdialog")
        dialog.get_by_role("button", name="Retry").click()
        dialog.wait_for(state="hidden")

    def picture(self, name: str, *, height: int = 900, of: Locator | None = None) -> None:
        """Keep a picture of the page, or of a part that is shown whole, where pictures are asked for."""
        if self._pictures is None:
            return
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": 1280, "height": height})
        if self.page.locator("canvas").count():  # the graph of a run, which finds its scale when it is first drawn
            tab = self.page.get_by_role("tab", selected=True).inner_text()
            self.page.reload()
            self.tab(tab)
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(_SETTLE_SECONDS * 1000)
        shot = self.page.screenshot(animations="disabled", clip=_around(of) if of else None)
        # A page has few colours: so many look the same and take a third.
        Image.open(io.BytesIO(shot)).convert("RGB").quantize(128).save(self._pictures / f"{name}.png", optimize=True)
        self.page.set_viewport_size(size)


def _around(part: Locator) -> FloatRect:
    """Return the place of a part of the page, with a margin."""
    box = part.bounding_box()
    assert box
    width, height = box["width"] + 2 * _MARGIN_PIXELS, box["height"] + 2 * _MARGIN_PIXELS
    return {"x": box["x"] - _MARGIN_PIXELS, "y": box["y"] - _MARGIN_PIXELS, "width": width, "height": height}
