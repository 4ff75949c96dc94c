"""Prepared files: for the app that asked, as long as it may see what is in them."""

from datetime import UTC, datetime

import pytest

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.api_clients import App
from onhook.pbx_api.downloads import EXPIRY_MICROSECONDS, Downloads


def app(*pbxs: str, client_id: str = "crm") -> App:
    return App(
        name=client_id,
        client_id=client_id,
        pbxs=pbxs,
        networks=(),
        behaviour=ApiBehaviour(),
        allow_control=False,
        created_at=datetime(2026, 11, 28, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("prepared_for", "fetched_by", "is_found"),
    [
        (app("A"), app("A"), True),
        (app("A"), app("A", "B"), True),
        (app("A", "B"), app(), True),
        (app(), app(), True),
        (app("A", "B"), app("A"), False),
        (app(), app("A"), False),
        (app("A"), app("A", client_id="other"), False),
    ],
)
def test_file_is_for_an_app_that_may_see_its_pbxs(prepared_for: App, fetched_by: App, is_found: bool) -> None:
    """An app whose PBXs were limited meanwhile does not fetch what it may no longer see."""
    downloads = Downloads()
    files = [downloads.add(prepared_for, "cdr", b"x", 1), downloads.add_recording(prepared_for, ".wav", b"", 1)]  # type: ignore[arg-type] # its content is not read
    assert [downloads.get(file.name, fetched_by, 2) is not None for file in files] == [is_found] * 2
    assert [downloads.get(file.name, prepared_for, 1 + EXPIRY_MICROSECONDS) for file in files] == [None] * 2
