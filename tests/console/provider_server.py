"""An identity provider in a real server: right in everything, or wrong in one detail."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web
from joserfc import jwk, jwt
from yarl import URL

CLIENT_ID, CLIENT_SECRET = "onhook", "a secret: with % and +"

Change = Callable[[dict[str, Any]], object]


def sign_by_secret(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """Return a token with an HMAC, or with an empty signature for an empty secret; libraries refuse to make either."""
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    signature = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=") if secret else b""
    return (text + b"." + signature).decode()


async def _go_on() -> None:
    pass


@cache
def _first_key() -> Any:
    """Return the key of all providers: a new one for each would take longer than most tests."""
    return jwk.RSAKey.generate_key(2048, {"kid": "first"})


class ProviderServer:
    """A provider with one account, whose codes are valid once. Tests change `claims`, or what is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {"sub": "248289761001", "preferred_username": "Ann", "groups": ["sales"]}
        self.user_info: dict[str, Any] = {}
        self.change_token: Change = lambda _claims: None
        self.change_configuration: Change = lambda _configuration: None
        self.header: dict[str, Any] = {"alg": "RS256"}
        self.signing_key: Any = None
        self.requests: list[str] = []
        self.wait: Callable[[], Awaitable[object]] = _go_on
        """Awaited before the configuration is sent."""
        self.key = self.published_key = _first_key()
        self._codes: dict[str, dict[str, str]] = {}

    def rotate_keys(self) -> None:
        """Sign with another key from now on, and publish it alone."""
        self.key = self.published_key = jwk.RSAKey.generate_key(2048, {"kid": f"key {len(self.requests)}"})

    def authorize(self, address: str, **changes: str) -> str:
        """Sign the account in, as a person does in a browser that came to this address; return where it is led back."""
        query = dict(URL(address).query)
        code = hashlib.sha256(address.encode()).hexdigest()
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.url} | changes
        return str(URL(query["redirect_uri"]).with_query({name: text for name, text in answer.items() if text}))

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["ProviderServer"]:
        """Run the server on the loopback."""
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._send_configuration)
        app.router.add_get("/keys", self._send_keys)
        app.router.add_post("/token", self._send_tokens)
        app.router.add_get("/userinfo", self._send_user_info)
        app.router.add_get("/elsewhere", self._send_configuration)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name.replace("localhost", "127.0.0.1")
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _send_configuration(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        await self.wait()
        configuration = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "authorization_response_iss_parameter_supported": True,
        }
        self.change_configuration(configuration)
        if location := configuration.pop("redirect_to", None):
            raise web.HTTPFound(str(location))
        return web.json_response(configuration)

    async def _send_keys(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        return web.json_response({"keys": [self.published_key.as_dict(private=False)]})

    async def _send_tokens(self, request: web.Request) -> web.Response:
        """Check what a real provider checks: client, code, redirect URI and the verifier of PKCE."""
        self.requests.append(request.path)
        form = await request.post()
        login = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().split(":")
        if [unquote_plus(text) for text in login] != [CLIENT_ID, CLIENT_SECRET]:
            return web.json_response({"error": "invalid_client"}, status=401)
        query = self._codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if query is None or query["code_challenge"] != challenge or query["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = self.claims | {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": query["nonce"],
        }
        self.change_token(claims)
        header = {"kid": self.key.kid} | self.header
        if isinstance(self.signing_key, bytes):
            token = sign_by_secret(header, claims, self.signing_key)
        else:
            token = jwt.encode(header, claims, self.signing_key or self.key, [header["alg"]])
        return web.json_response({"id_token": token, "access_token": "access", "token_type": "Bearer"})

    async def _send_user_info(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if request.headers["Authorization"] != "Bearer access":
            raise web.HTTPUnauthorized
        return web.json_response(self.user_info)
