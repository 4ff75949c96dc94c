"""The dialects and clients are registered under the names in the ledger."""

from onhook.appdb.pbxs import DIALECTS
from onhook.appdb.source_match import (
    FILE_DIALECTS,
    LINE_DIALECTS,
    LIST_DIALECTS,
    PASSWORD_DIALECTS,
    UNSIGNED_DIALECTS,
    UNTESTED_DIALECTS,
)
from onhook.pbx.dialect import FileDialect, LegDialect, LineDialect
from onhook.pbx.registry import call_list_clients, dialects, pbx_clients


def test_registry_dialect_names_do_not_change() -> None:
    """Raw events are stored under them."""
    assert dialects().keys() == {"yeastar", "newcdr", "asterisk", "freeswitch", "3cx", "avaya", "grandstream", "cucm"}
    assert dialects().keys() == DIALECTS
    assert all(dialect.name == name for name, dialect in dialects().items())


def test_registry_client_belongs_to_dialect() -> None:
    assert pbx_clients().keys() == {"yeastar"}
    assert pbx_clients().keys() <= dialects().keys()
    assert call_list_clients().keys() == LIST_DIALECTS <= dialects().keys()


def test_registry_dialects_without_signatures_are_those_of_lines_and_legs_and_newcdr() -> None:
    """Pages and checks decide by these names what a PBX can have."""
    lines = {name for name, dialect in dialects().items() if isinstance(dialect, LineDialect)}
    legs = {name for name, dialect in dialects().items() if isinstance(dialect, LegDialect)}
    files = {name for name, dialect in dialects().items() if isinstance(dialect, FileDialect)}
    assert lines == LINE_DIALECTS
    assert files == FILE_DIALECTS
    assert legs - lines - files == PASSWORD_DIALECTS
    assert lines | legs == UNTESTED_DIALECTS
    assert lines | legs | {"newcdr"} == UNSIGNED_DIALECTS
