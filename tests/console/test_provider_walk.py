"""Signing in by a certified OpenID provider in a browser: `npm ci` in `tests/console/oidc_provider` installs it."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.console.auth.provider_sign_in import CALLBACK_PATH
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import ARGUMENTS

FOLDER = Path(__file__).parent / "oidc_provider"
NODE = shutil.which("node")


@asynccontextmanager
async def run_provider(redirect_uri: str) -> AsyncIterator[str]:
    """Yield the issuer of a running provider."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = await asyncio.create_subprocess_exec(
        *(str(NODE), str(FOLDER / "provider.mjs"), str(port), redirect_uri),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert program.stdout is not None
    try:
        while line := await program.stdout.readline():
            if line == b"ready\n":
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        program.kill()
        await program.wait()


@pytest.mark.slow
@pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").is_dir(), reason="npm ci in tests/console/oidc_provider installs it"
)
async def test_sign_in_by_a_certified_provider_in_a_browser(harness: ConsoleHarness, chromium_path: str) -> None:
    """Another site for the browser: its cookies, redirects and policies are those of a real sign-in."""
    address = harness.url.replace("127.0.0.1", "localhost")
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url=address))
    async with run_provider(address + CALLBACK_PATH) as issuer, async_playwright() as playwright:
        settings = ProviderSettings(
            issuer=issuer, client_id="onhook", rules="sales annotator", adds_users=True, allow_private=True
        )
        await harness.appdb.identity_provider.put(settings, "secret")
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        page = await chromium.new_page()
        await page.goto(f"{address}/sign-in?next=/calls")
        await page.get_by_role("link", name="single sign-on").click()
        await page.get_by_placeholder("Enter any login").fill("ann")
        await page.get_by_placeholder("and password").fill("x")
        await page.get_by_role("button", name="Sign-in").click()
        await page.get_by_role("button", name="Continue").click()
        await page.wait_for_url(f"{address}/calls")
        await expect(page.get_by_role("link", name="Calls")).to_be_visible()
        (ann,) = await harness.appdb.users.all()
        assert (ann.name, ann.role) == ("ann", "annotator")
        await page.get_by_role("button", name="Sign out").first.click()
        await page.goto(f"{address}/sign-in/provider")  # still signed in there, with the consent from before
        await page.wait_for_url(f"{address}/")
        await chromium.close()
