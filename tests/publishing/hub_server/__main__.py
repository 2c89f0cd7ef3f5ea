"""The local Hub as a process: python -m tests.publishing.hub_server --person NAME --token TOKEN [--org NAME] [--port N]

Prints one JSON line, {"endpoint": ..., "pid": ...}, and serves until its standard input ends or it gets a signal; so it
never outlives who started it with a pipe. What it holds is read, and faults are set, through its own calls:

    GET  <endpoint>/-/state     repositories with commits on main, branches, tags; and the requests so far
    POST <endpoint>/-/faults    a fault (faults.Fault) as JSON; an empty body clears all
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from tests.publishing.hub_server.people import Person
from tests.publishing.hub_server.server import HubServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.publishing.hub_server")
    parser.add_argument("--person", default="ada")
    parser.add_argument("--token", required=True)
    parser.add_argument("--role", choices=("write", "read"), default="write")
    parser.add_argument("--org", action="append", default=[])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--part-bytes", type=int, default=None)
    given = parser.parse_args()
    person = Person(given.person, given.role, dict.fromkeys(given.org, "write"))
    with HubServer({given.token: person}, part_bytes=given.part_bytes, port=given.port) as hub:
        print(json.dumps({"endpoint": hub.endpoint, "pid": os.getpid()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
