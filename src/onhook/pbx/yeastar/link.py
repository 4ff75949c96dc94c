"""How to talk to a P-Series, put together; see the contract, `pbx.link.Link`."""

from collections.abc import Generator

from onhook.pbx.link import Answer, Facts, Listing, Page, Request, Said, Whose, Window
from onhook.pbx.yeastar import answers, listing
from onhook.pbx.yeastar.answers import API
from onhook.pbx.yeastar.session import YeastarPush


class YeastarLink:
    """Holds nothing: every call is about what it is given."""

    push_path = f"{API}subscribe"

    def read_answer(self, status: int, body: bytes) -> Answer:
        return answers.read_answer(status, body)

    def ask_facts(self) -> Request:
        return answers.ask_facts()

    def read_facts(self, answer: Answer) -> Facts:
        return answers.read_facts(answer)

    def push(self) -> YeastarPush:
        return YeastarPush()

    def listing(self, sn: str, window: Window, facts: Facts, *, rows_max: int) -> Listing:
        return listing.listing(listing.Source(sn=sn, facts=facts, rows_max=rows_max), window)

    def count(self, window: Window, facts: Facts) -> Generator[Request | Whose | Page, Said, int | None]:
        return listing.counting(listing.Source(sn="", facts=facts), window)
