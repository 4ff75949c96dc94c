"""Servers with the interface of S3: one in memory that checks signatures, and SeaweedFS where it is installed."""

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import aiohttp
from yarl import URL

from onhook.delivery.destinations.s3_signing import SigningKey, encode_path, encode_query, sign_request
from tests.delivery.destinations.broker_servers import ServerProcess, free_port
from tests.delivery.destinations.http_server import HttpServer, ReceivedRequest
from tests.delivery.harness import SECRET

ACCESS_KEY, BUCKET = "onhook-key", "calls"
KEY = SigningKey(access_key=ACCESS_KEY, secret=SECRET, region="us-east-1")
FIELDS = {"access_key": ACCESS_KEY, "file_format": "jsonl", "batch_seconds": 0, "batch_records": 256}
ADDED_HEADERS = ("x-amz-content-sha256", "x-amz-date")
START_SECONDS_MAX = 240.0


def read_durations(objects: dict[str, bytes]) -> dict[str, int]:
    """Return the talk durations by call in the files of records; of updates the newest one."""
    rows = read_rows(objects)
    return {row["call_id"]: row["talk_duration"] for row in sorted(rows, key=lambda row: row["seq"])}


def read_rows(objects: dict[str, bytes], prefix: str = "records/day=") -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for key, content in objects.items()
        if f"/{prefix}" in f"/{key}" and key.endswith(".jsonl")
        for line in content.splitlines()
    ]


class MemoryS3(HttpServer):
    """See `contract.KindServer`: objects in memory, with conditions and signatures as documented. `fail_at` is the
    number of a request that is not answered; with `is_done_before` it has its effect all the same.
    """

    kind = "s3"
    url_path = f"/{BUCKET}/a%20b"
    fields: ClassVar[dict[str, Any]] = FIELDS

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.fail_at = 0
        self.is_done_before = False
        self.ignores_conditions = False

    def durations(self) -> dict[str, int]:
        return read_durations(self.objects)

    def refuse(self) -> None:
        raise AssertionError("a bucket refuses no record")

    def answer(self, request: ReceivedRequest) -> tuple[int, bytes]:
        if error := self._signature_error(request):
            return 403, f"<Error><Code>SignatureDoesNotMatch</Code><Message>{escape(error)}</Message></Error>".encode()
        is_failing = len(self.requests) == self.fail_at
        if is_failing and not self.is_done_before:
            return 500, b"<Error><Code>InternalError</Code></Error>"
        response = self._apply(request)
        return (500, b"<Error><Code>InternalError</Code></Error>") if is_failing else response

    def _apply(self, request: ReceivedRequest) -> tuple[int, bytes]:
        parts = urlsplit(request.path)
        bucket, _slash, key = unquote(parts.path).removeprefix("/").partition("/")
        assert bucket == BUCKET
        if request.method == "GET" and not key:
            return self._list(dict(parse_qsl(parts.query)))
        if request.method == "GET":
            return (200, self.objects[key]) if key in self.objects else (404, b"<Error><Code>NoSuchKey</Code></Error>")
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        assert request.method == "PUT"
        is_new_only = request.headers.get("If-None-Match") == "*" and not self.ignores_conditions
        if is_new_only and key in self.objects:
            return 412, b"<Error><Code>PreconditionFailed</Code></Error>"
        self.objects[key] = request.body
        return 200, b""

    def _list(self, query: dict[str, str]) -> tuple[int, bytes]:
        keys = sorted(key for key in self.objects if key.startswith(query["prefix"]))[: int(query["max-keys"])]
        contents = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        return 200, f"<ListBucketResult>{contents}</ListBucketResult>".encode()

    def _signature_error(self, request: ReceivedRequest) -> str:
        """Return what is wrong with a signature: it is computed here from what was received."""
        received = {name.lower(): value for name, value in request.headers.items()}
        signed_names = received["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        parts = urlsplit(request.path)
        expected = sign_request(
            request.method,
            encode_path(unquote(parts.path)),
            dict(parse_qsl(parts.query)),
            {name: received[name] for name in signed_names if name not in ADDED_HEADERS},
            body=request.body,
            key=KEY,
            now=datetime.strptime(received["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        )
        if unsigned_names := {name for name in received if name.startswith("x-amz-")} - set(signed_names):
            return f"not signed: {unsigned_names}"
        if received["x-amz-content-sha256"] != hashlib.sha256(request.body).hexdigest():
            return "another body"
        return "" if received["authorization"] == expected["Authorization"] else "another signature"


class SeaweedFs:
    """One SeaweedFS, with the bucket `calls`."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self.process = ServerProcess(folder, free_port())
        self._ports = {name: free_port() for name in ("master", "filer", "volume")}
        self._ports |= {f"{name}.grpc": free_port() for name in ("master", "filer", "volume", "s3")}
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET}]
        identity = {"name": "onhook", "credentials": credentials, "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def start(self) -> None:
        """Start, and wait until the bucket is there and takes objects."""
        folder = self.process.folder
        ports = [
            f"-{name.replace('.grpc', '')}.port{'.grpc' * ('grpc' in name)}={port}"
            for name, port in self._ports.items()
        ]
        self.process.start(
            self._program,
            *("server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.volumeSizeLimitMB=64"),
            *("-master.telemetry=false", f"-s3.port={self.process.port}", f"-s3.config={folder}/s3.json", *ports),
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not asyncio.run(self._is_ready()):
            assert time.monotonic() < deadline, "SeaweedFS takes no object"
            time.sleep(0.2)

    async def _is_ready(self) -> bool:
        try:
            await self.request("PUT", "")
            return (await self.request("PUT", "/ready"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def request(self, method: str, path: str, query: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Make a request for something in the bucket; return status and body."""
        host, encoded_path = f"127.0.0.1:{self.process.port}", encode_path(f"/{BUCKET}{path}")
        headers = sign_request(
            method, encoded_path, query or {}, {"host": host}, body=b"", key=KEY, now=datetime.now(UTC)
        )
        url = URL(f"http://{host}{encoded_path}?{encode_query(query or {})}", encoded=True)
        async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as response:
            return response.status, await response.read()
