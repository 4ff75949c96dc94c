"""How to talk to a P-Series, put together; see the contract, `pbx.link.Link`."""

from collections.abc import Generator, Mapping, Sequence

import msgspec

from onhook.pbx.client import Answer, Facts, Listing, Login, Page, Request, Said, Step, Webhooks, Whose, Window
from onhook.pbx.yeastar import answers, listing, rows, tokens
from onhook.pbx.yeastar.answers import API
from onhook.pbx.yeastar.session import YeastarPush


class YeastarLink:
    """Holds nothing: every call is about what it is given."""

    push_path = f"{API}subscribe"

    def next_step(self, kept: str, login: Login, now: float) -> Step:
        return tokens.next_step(_read(kept), login, now)

    def begun(self, kept: str, step: Step, now: float) -> str:
        return _written(tokens.begun(_read(kept), step, now))

    def heard(self, kept: str, step: Step, answer: Answer, now: float, chance: float) -> str:
        return _written(tokens.heard(_read(kept), step, answer, now, chance=chance))

    def refused(self, kept: str, token: str, now: float, chance: float) -> str:
        return _written(tokens.refused(_read(kept), token, now, chance=chance))

    def to_release(self, kept: str) -> Step | None:
        return tokens.to_release(_read(kept))

    def farewell(self, kept: str, now: float) -> Sequence[Step]:
        return tokens.farewell(_read(kept), now)

    def read_answer(self, status: int, body: bytes) -> Answer:
        return answers.read_answer(status, body)

    def ask_facts(self) -> Request:
        return answers.ask_facts()

    def read_facts(self, answer: Answer) -> Facts:
        return answers.read_facts(answer)

    def ask_webhooks(self) -> Request:
        return answers.ask_webhooks()

    def read_webhooks(self, answer: Answer) -> Webhooks:
        return answers.read_webhooks(answer)

    def push(self) -> YeastarPush:
        return YeastarPush()

    def listing(self, sn: str, window: Window, facts: Facts, *, rows_max: int) -> Listing:
        return listing.listing(listing.Source(sn=sn, facts=facts, rows_max=rows_max), window)

    def row_of_file(self, sn: str, row: Mapping[str, str], date_format: str, call_id: str) -> bytes:
        wrapping = rows.Wrapping(sn=sn, date_format=date_format, call_id=call_id)
        return rows.wrapped(msgspec.json.encode(row), wrapping)

    def uid_of_file(self, row: Mapping[str, str]) -> str:
        named = rows.named(row)
        return "" if named.get("call_id") else str(named.get("uid", ""))

    def knows_headings(self, names: Sequence[str]) -> bool:
        named = rows.named(dict.fromkeys(names, "-"))
        return all(any(one in named for one in ways) for ways in rows.HEADINGS_NEEDED)

    def count(self, window: Window, facts: Facts) -> Generator[Request | Whose | Page, Said, int | None]:
        return listing.counting(listing.Source(sn="", facts=facts), window)


def _read(kept: str) -> tokens.Tokens:
    """What cannot be read was kept by another version: then nothing is known, which costs one login."""
    try:
        return msgspec.json.decode(kept, type=tokens.Tokens) if kept else tokens.Tokens()
    except msgspec.DecodeError:
        return tokens.Tokens()


def _written(known: tokens.Tokens) -> str:
    return msgspec.json.encode(known).decode()
