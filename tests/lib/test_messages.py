"""Messages: English by themselves, translated inside a block that sets a catalogue."""

import asyncio
from typing import Final

from onhook.lib.messages import Catalogue, _, _n, mark, use_catalogue


class German(Catalogue):
    """A catalogue of a few messages."""

    TEXTS: Final = {"{count} calls": "{count} Anrufe", "1 call": "1 Anruf", "missed": "verpasst"}

    def gettext(self, message: str) -> str:
        return self.TEXTS.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


def test_message_without_catalogue_is_english() -> None:
    assert _("{count} calls", count=3) == "3 calls"


def test_message_without_values_keeps_braces() -> None:
    assert _('write {"status": "busy"}') == 'write {"status": "busy"}'


def test_message_with_catalogue_fills_values_into_the_translation() -> None:
    with use_catalogue(German()):
        assert _("{count} calls", count=3) == "3 Anrufe"
    assert _("{count} calls", count=3) == "3 calls"


def test_message_of_a_number_is_singular_or_plural() -> None:
    assert [_n("1 call", "{count} calls", number) for number in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]
    assert _n("1 call", "{count} calls", 1200, count="1,200") == "1,200 calls"
    with use_catalogue(German()):
        assert [_n("1 call", "{count} calls", number) for number in (1, 2)] == ["1 Anruf", "2 Anrufe"]


def test_message_missing_in_catalogue_stays_english() -> None:
    with use_catalogue(German()):
        assert _("answered by {name}", name="Alice") == "answered by Alice"


async def test_catalogue_of_one_task_does_not_reach_another() -> None:
    async def translate() -> str:
        with use_catalogue(German()):
            await asyncio.sleep(0)
            return _("missed")

    async def keep_english() -> str:
        await asyncio.sleep(0)
        return _("missed")

    assert list(await asyncio.gather(translate(), keep_english())) == ["verpasst", "missed"]


async def test_catalogue_reaches_threads_that_the_task_starts() -> None:
    with use_catalogue(German()):
        assert await asyncio.to_thread(_, "missed") == "verpasst"


def test_mark_returns_the_text() -> None:
    """A catalogue finds it where it is defined."""
    assert mark("missed") == "missed"
    with use_catalogue(German()):
        assert _(mark("missed")) == "verpasst"
