"""The dialects and clients are registered under the names in the ledger."""

from onhook.appdb.pbxs import DIALECTS
from onhook.pbx.registry import dialects, pbx_clients


def test_registry_dialect_names_do_not_change() -> None:
    """Raw events are stored under them."""
    assert dialects().keys() == {"yeastar", "newcdr", "asterisk", "freeswitch", "3cx", "avaya", "grandstream"}
    assert dialects().keys() == DIALECTS
    assert all(dialect.name == name for name, dialect in dialects().items())


def test_registry_client_belongs_to_dialect() -> None:
    assert pbx_clients().keys() == {"yeastar"}
    assert pbx_clients().keys() <= dialects().keys()
