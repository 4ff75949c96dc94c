"""Names from the lists of the web API."""

from collections.abc import Callable
from typing import Any

import pytest

from onhook.lib.errors import Unavailable
from onhook.pbx.client import ApiErrorKind, NumberName, PbxRequest, PbxResponse
from onhook.pbx.yeastar import names as names_module
from onhook.pbx.yeastar.client import YeastarClient


def read(answer: Callable[[PbxRequest], PbxResponse]) -> tuple[list[NumberName], list[PbxRequest]]:
    """Return the names, and the requests for them."""
    steps, requests = YeastarClient().list_names(), []
    request = next(steps)
    try:
        while True:
            requests.append(request)
            request = steps.send(answer(request))
    except StopIteration as end:
        return list(end.value), requests


def success(**members: Any) -> PbxResponse:
    return PbxResponse(errcode=0, members={"errcode": 0, **members})


def failure(kind: ApiErrorKind) -> PbxResponse:
    return PbxResponse(errcode=1, error_kind=kind, error_text="1 SORRY")


def test_list_names_reads_each_list() -> None:
    """Under both names of the rows; without a name, a number, or one that is not text, there is none."""
    extensions = [
        {"number": "1001", "caller_id_name": " Alice Smith "},
        {"number": "1002", "caller_id_name": "", "first_name": "Bob", "last_name": None},
        {"number": 1003, "first_name": "Carol", "last_name": "Jones"},
        {"number": "1004", "caller_id_name": "1004"},
        {"number": "", "caller_id_name": "Nameless"},
        {"caller_id_name": "Numberless"},
        "row",
    ]
    answers = {
        "extension": success(data=extensions, total_number=7),
        "queue": success(queue_list=[{"number": "6400", "name": "Support"}]),
        "ringgroup": success(other=[{"number": "6300", "name": "Sales"}]),
        "ivr": failure("unsupported"),
    }
    names, requests = read(lambda request: answers[request.path.split("/")[-2]])
    assert names == [
        NumberName(number="1001", kind="extension", name="Alice Smith"),
        NumberName(number="1002", kind="extension", name="Bob"),
        NumberName(number="1003", kind="extension", name="Carol Jones"),
        NumberName(number="6400", kind="queue", name="Support"),
    ]
    assert [request.path.rpartition("v1.0/")[2] for request in requests] == [
        f"{name}/list" for name in ("extension", "queue", "ringgroup", "ivr")
    ]


def test_list_names_reads_pages_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "PAGE_ROWS", 2)
    monkeypatch.setattr(names_module, "PAGES_MAX", 3)
    rows = [{"number": str(number), "name": f"Name {number}", "caller_id_name": f"N {number}"} for number in range(9)]

    def answer(request: PbxRequest) -> PbxResponse:
        first = 2 * (int(request.query["page"]) - 1)
        return success(data=rows[first : first + 2] if "queue" not in request.path else rows[:1])

    names, requests = read(answer)
    assert len([name for name in names if name.kind == "extension"]) == 6
    assert len([name for name in names if name.kind == "queue"]) == 1
    assert len(requests) == 3 * 3 + 1


def test_list_names_that_fail_are_not_known() -> None:
    with pytest.raises(Unavailable, match="does not list its numbers: 1 SORRY"):
        read(lambda _request: failure("needs_operator"))
