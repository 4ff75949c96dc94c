"""Pages of a console without calls: what they offer leads somewhere else."""

import re

import aiohttp

HTML = {"Accept": "text/html"}
SENTENCE = re.compile(r'<p class="no-rows">(.*?)</p>', re.DOTALL)
LINK = re.compile(r'href="([^"]*)"')


async def _links_without_calls(client: aiohttp.ClientSession, path: str) -> list[str]:
    """Return the links of the sentence in place of the list of calls."""
    async with client.get(path, headers=HTML) as answer:
        (sentence,) = SENTENCE.findall(await answer.text())
    return LINK.findall(sentence)


async def test_calls_page_without_calls_links_to_another_page(client: aiohttp.ClientSession) -> None:
    assert await _links_without_calls(client, "/calls") == ["/"]


async def test_calls_page_without_matching_calls_links_to_all(client: aiohttp.ClientSession) -> None:
    assert await _links_without_calls(client, "/calls?status=answered") == ["/calls"]
