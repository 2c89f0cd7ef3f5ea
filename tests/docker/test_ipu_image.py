"""What docker/ipu.Dockerfile says: its base, two interpreters, and files that are there."""

from __future__ import annotations

import re

from deployments.home import CHECKOUT
from podsquad.config.load import load_settings
from tests.docker import dockerfile
from tests.docker.dockerfile import FLOW

IPU = CHECKOUT / "docker/ipu.Dockerfile"


def runs() -> list[str]:
    return [each.rest for each in dockerfile.of(IPU, "RUN")]


def test_what_it_copies_is_in_the_build_s_context() -> None:
    seen = dockerfile.visible(CHECKOUT)
    copied = [source for each in dockerfile.of(IPU, "COPY") for source in each.arguments[:-1]]
    assert "constraints-ipu.txt" in copied
    assert set(copied) <= set(seen)


def test_the_flow_gets_what_its_own_image_gets() -> None:
    def steps(rests: list[str]) -> set[str]:
        return {re.sub(r"/opt/flow/bin/", "", rest) for rest in rests}

    assert steps([each.rest for each in dockerfile.of(FLOW, "RUN")]) <= steps(runs())


def test_the_program_s_packages_go_into_the_base_s_python() -> None:
    (step,) = [rest for rest in runs() if "constraints-ipu.txt" in rest]
    assert step.startswith("python3 -m pip install")
    assert "import poptorch, optimum.graphcore" in step
    told = dockerfile.environment(IPU)
    settings = load_settings(environ={name: told[name] for name in told if name.startswith("PODSQUAD_")}).settings
    assert (settings.profile, str(settings.runtime.python)) == ("pod16", "/usr/bin/python3")
    assert not settings.runtime.emulated
