"""Messages: English by themselves, translated inside a block that sets a catalogue."""

import asyncio

from onhook.lib.messages import _, use_catalogue

GERMAN = {"{count} calls": "{count} Anrufe", "missed": "verpasst"}


def look_up(template: str) -> str:
    return GERMAN.get(template, template)


def test_message_without_catalogue_is_english() -> None:
    assert _("{count} calls", count=3) == "3 calls"


def test_message_without_values_keeps_braces() -> None:
    assert _('write {"status": "busy"}') == 'write {"status": "busy"}'


def test_message_with_catalogue_fills_values_into_the_translation() -> None:
    with use_catalogue(look_up):
        assert _("{count} calls", count=3) == "3 Anrufe"
    assert _("{count} calls", count=3) == "3 calls"


def test_message_missing_in_catalogue_stays_english() -> None:
    with use_catalogue(look_up):
        assert _("answered by {name}", name="Alice") == "answered by Alice"


async def test_catalogue_of_one_task_does_not_reach_another() -> None:
    async def translate() -> str:
        with use_catalogue(look_up):
            await asyncio.sleep(0)
            return _("missed")

    async def keep_english() -> str:
        await asyncio.sleep(0)
        return _("missed")

    assert list(await asyncio.gather(translate(), keep_english())) == ["verpasst", "missed"]


async def test_catalogue_reaches_threads_that_the_task_starts() -> None:
    with use_catalogue(look_up):
        assert await asyncio.to_thread(_, "missed") == "verpasst"
