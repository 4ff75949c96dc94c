"""A stub of the list of calls of a Grandstream UCM, which behaves as the vendor's guides describe it: login with a
challenge and a cookie, or HTTP Digest; pages of a thousand at most; times by its own clock.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

USER, PASSWORD = "cdrapi", "list-password-text"
REALM, NONCE = "asterisk", "0123456789abcdef"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class UcmStub:
    """`entries` are those of `cdr_root`, in order of `start`. `statuses` are returned before a list, `http_statuses`
    before anything else; `has_api` is whether it has the API with cookies; each cookie is good for `cookie_uses` lists.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]] = ()) -> None:
        self.entries = list(entries)
        self.statuses: list[int] = []
        self.http_statuses: list[int] = []
        self.has_api = True
        self.cookie_uses = 10**9
        self.queries: list[dict[str, str]] = []
        self.login_count = 0
        self._uses_left = 0

    def list_calls(self, query: Mapping[str, str]) -> dict[str, Any]:
        self.queries.append({name: query[name] for name in ("startTime", "endTime", "offset")})
        assert query["format"] == "json"
        first, count = int(query["offset"]), int(query["numRecords"])
        assert 0 < count <= 1000
        since, until = (query[name].replace("T", " ") for name in ("startTime", "endTime"))
        entries = [entry for entry in self.entries if since <= start_of(entry) <= until]
        return {"cdr_root": entries[first : first + count]}

    async def on_api(self, request: web.Request) -> web.Response:
        if self.http_statuses:
            return web.Response(status=self.http_statuses.pop(0), headers={"Retry-After": "0"})
        if not self.has_api:
            return web.Response(status=404)
        members = (await request.json())["request"]
        match members["action"]:
            case "challenge":
                return web.json_response({"response": {"challenge": "0000001496038514"}, "status": 0})
            case "login":
                return web.json_response(self.log_in(members))
            case "cdrapi":
                return web.json_response(self.answer_list(members))
        return web.json_response({"status": -1})

    def log_in(self, members: Mapping[str, str]) -> dict[str, Any]:
        self.login_count += 1
        if members["user"] != USER or members["token"] != md5("0000001496038514" + PASSWORD):
            return {"response": {}, "status": -37}
        self._uses_left = self.cookie_uses
        return {"response": {"cookie": f"sid{self.login_count}"}, "status": 0}

    def answer_list(self, members: Mapping[str, str]) -> dict[str, Any]:
        if self.statuses:
            return {"response": {}, "status": self.statuses.pop(0)}
        if members["cookie"] != f"sid{self.login_count}" or not self._uses_left:
            return {"response": {}, "status": -6}
        self._uses_left -= 1
        return self.list_calls(members)

    async def on_digest(self, request: web.Request) -> web.Response:
        header = request.headers.get("Authorization", "")
        values = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
        secret, target = md5(f"{USER}:{REALM}:{PASSWORD}"), md5(f"GET:{values.get('uri', '')}")
        parts = (secret, NONCE, *(values.get(name, "") for name in ("nc", "cnonce", "qop")), target)
        if not header.startswith("Digest ") or values.get("response") != md5(":".join(parts)):
            challenge = f'Digest realm="{REALM}", nonce="{NONCE}", algorithm=MD5, qop="auth"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.json_response(self.list_calls(request.query))


def start_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("main_cdr", entry)["start"])


@asynccontextmanager
async def run_ucm(stub: UcmStub) -> AsyncIterator[str]:
    """Yield the address of the stub."""
    app = web.Application()
    app.router.add_post("/api", stub.on_api)
    app.router.add_get("/cdrapi", stub.on_digest)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
