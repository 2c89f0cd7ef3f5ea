"""The calls that move bytes: the LFS batch, uploads to the storage beside the Hub, and downloads."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.publishing.hub_server.calls import Answer, Call, Request, World
from tests.publishing.hub_server.people import visible, writable
from tests.publishing.hub_server.repositories import RefusedError

LFS_TYPE = "application/vnd.git-lfs+json"


def batch(world: World, request: Request) -> Answer:
    writable(world.repositories.get("/".join(request.parts[:2])), request.person)
    asked = request.json()
    if asked["operation"] != "upload" or asked.get("hash_algo") != "sha256":
        raise RefusedError(400, "only uploads by SHA-256")
    # A Hub without Xet: it knows the two older ways alone.
    large_in_parts = world.part_bytes is not None and "multipart" in asked["transfers"]
    objects = []
    for each in asked["objects"]:
        sha256, size = each["oid"], each["size"]
        found: dict[str, Any] = {"oid": sha256, "size": size}
        if sha256 not in world.large.contents:
            in_parts = large_in_parts and size > (world.part_bytes or 0)
            found["actions"] = {
                "upload": _parts(world, sha256, size) if in_parts else {"href": _signed(world, f"/put/{sha256}")},
                "verify": {"href": f"{world.endpoint}/{'/'.join(request.parts[:2])}.git/info/lfs/objects/verify"},
            }
        objects.append(found)
    return Answer(
        {"transfer": "multipart" if large_in_parts else "basic", "objects": objects},
        headers={"Content-Type": LFS_TYPE},
    )


def _parts(world: World, sha256: str, size: int) -> dict[str, Any]:
    part_bytes = world.part_bytes or size
    count = -(-size // part_bytes)
    header = {str(number): _signed(world, f"/part/{sha256}/{number}") for number in range(1, count + 1)}
    return {"href": _signed(world, f"/complete/{sha256}"), "header": {"chunk_size": str(part_bytes)} | header}


def _signed(world: World, path: str) -> str:
    return f"{world.storage}{path}?X-Amz-Signature={world.large.sign()}"


def verify(world: World, request: Request) -> Answer:
    writable(world.repositories.get("/".join(request.parts[:2])), request.person)
    asked = request.json()
    world.large.verify(asked["oid"], asked["size"])
    return Answer({})


def resolve(world: World, request: Request) -> Answer:
    repository = visible(world.repositories.get("/".join(request.parts[:2])), request.person)
    commit = repository.find(request.parts[2])
    headers = {"X-Repo-Commit": commit.id}
    file = commit.files.get(request.parts[3])
    if file is None:
        raise RefusedError(404, "Entry not found", "EntryNotFound")
    if file.sha256 is None:
        return Answer(file.content, headers=headers | {"ETag": f'"{file.oid}"'})
    headers |= {
        "X-Linked-Etag": f'"{file.sha256}"',
        "X-Linked-Size": str(file.size),
        "ETag": f'"{file.oid}"',
        "Location": _signed(world, f"/get/{file.sha256}"),
    }
    return Answer(b"", 302, headers)


def _check_signature(world: World, request: Request) -> None:
    if request.query.get("X-Amz-Signature") not in world.large.signed:
        raise RefusedError(403, "SignatureDoesNotMatch")
    if "authorization" in request.headers:
        raise RefusedError(
            400, "Only one auth mechanism allowed"
        )  # as S3 does: the Hub's token is none of its business


def put(world: World, request: Request) -> Answer:
    _check_signature(world, request)
    world.large.put(request.parts[0], request.body)
    return Answer(b"", headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


def part(world: World, request: Request) -> Answer:
    _check_signature(world, request)
    tag = world.large.put_part(request.parts[0], int(request.parts[1]), request.body)
    return Answer(b"", headers={"ETag": f'"{tag}"'})


def complete(world: World, request: Request) -> Answer:
    _check_signature(world, request)
    world.large.complete(request.parts[0], [each["partNumber"] for each in request.json()["parts"]])
    return Answer({})


def get(world: World, request: Request) -> Answer:
    _check_signature(world, request)
    content = world.large.contents.get(request.parts[0])
    if content is None:
        raise RefusedError(404, "NoSuchKey")
    return Answer(content, headers={"ETag": f'"{request.parts[0]}"'})


_GIT = "/([^/]+)/([^/]+)\\.git/info/lfs/objects"
HUB_ROUTES: tuple[tuple[str, str, Call], ...] = (
    ("POST", f"{_GIT}/batch", batch),
    ("POST", f"{_GIT}/verify", verify),
    ("GET|HEAD", "/([^/]+)/([^/]+)/resolve/([^/]+)/(.+)", resolve),
)
STORAGE_ROUTES: tuple[tuple[str, str, Call], ...] = (
    ("PUT", "/put/([0-9a-f]{64})", put),
    ("PUT", "/part/([0-9a-f]{64})/([0-9]+)", part),
    ("POST", "/complete/([0-9a-f]{64})", complete),
    ("GET|HEAD", "/get/([0-9a-f]{64})", get),
)
