"""The two streams of a ledger: the entries, and beside them what is replaced: contents, fingerprints, counters, states.

They are created by a command and never by the way: a name that is misspelt makes no second, empty ledger.
"""

from collections.abc import Mapping
from typing import Any

from onhook.ledger.contract import REPEAT_DAYS_MIN
from onhook.ledger.jetstream_address import JetStreamAddress
from onhook.ledger.jetstream_client import JetStreamClient, StreamMissing
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

FORMAT = 1
"""Of the messages; in the metadata of both streams."""

FORMAT_NAME = "onhook-format"
BEGIN_NAME = "onhook-begin"
"""The number after which a ledger begins that replaced a lost one; in the metadata too."""

STATE_SUFFIX = "_STATE"
NANOSECONDS_PER_DAY = 86_400 * 1_000_000_000
DUPLICATE_WINDOW = REPEAT_DAYS_MIN * NANOSECONDS_PER_DAY

_KEPT_SETTINGS: Mapping[str, object] = {
    "storage": "file",
    "retention": "limits",
    "persist_mode": "default",
    "max_age": 0,
    "max_msgs": -1,
    "max_bytes": -1,
    "no_ack": False,
    "sealed": False,
}
"""With others the servers drop entries by themselves, or confirm what they do not keep, or nothing at all."""

_SAME_SETTINGS: Mapping[str, tuple[object, ...]] = {"persist_mode": ("",), "max_msgs": (0,), "max_bytes": (0,)}


class StreamNames:
    """The names of the streams and subjects of a ledger."""

    def __init__(self, stream: str) -> None:
        self.entries = stream
        self.state = stream + STATE_SUFFIX
        self.event = f"{stream}.entry.event"
        self.control = f"{stream}.entry.control"
        self.any_entry = f"{stream}.entry.*"
        self.gap = f"{stream}.gap"
        """Stands for a number that an older ledger had deleted."""

    def state_subject(self, *tokens: object) -> str:
        """Return a subject of the second stream."""
        return ".".join([self.state, *map(str, tokens)])


async def create_streams(client: JetStreamClient, after_seq: int = 0, begin_seq: int = 0) -> None:
    """Create the streams of a ledger whose first entry gets the number after `after_seq`; those that are there stay as
    they are. `begin_seq` is that of `ledger.contract.Ledger`. Raises `UsageError`, `Unavailable`.
    """
    names = StreamNames(client.address.stream)
    shared = {
        "storage": "file",
        "num_replicas": client.address.replicas,
        "allow_direct": True,
        "deny_purge": True,
        "metadata": {FORMAT_NAME: str(FORMAT), BEGIN_NAME: str(begin_seq)},
    }
    state_stream = shared | {"name": names.state, "subjects": [f"{names.state}.>"], "max_msgs_per_subject": 1}
    entry_stream = shared | {
        "name": names.entries,
        "subjects": [names.any_entry, names.gap],
        "allow_atomic": True,
        "duplicate_window": DUPLICATE_WINDOW,
        "first_seq": after_seq + 1,
    }
    for stream in (state_stream, entry_stream):  # that of the entries last: a ledger that has it is whole
        try:
            await client.call(f"STREAM.INFO.{stream['name']}")
        except StreamMissing:
            await client.call(f"STREAM.CREATE.{stream['name']}", **stream)


async def has_entries(client: JetStreamClient) -> bool:
    """Return whether there is a stream of entries with some. Raises `UsageError`, `Unavailable`."""
    try:
        information = await client.call(f"STREAM.INFO.{StreamNames(client.address.stream).entries}")
    except StreamMissing:
        return False
    return bool(information["state"]["messages"])


async def read_begin(client: JetStreamClient) -> int:
    """Return the number after which a ledger begins that replaced a lost one; else 0. Raises `Unavailable`."""
    information = await client.call(f"STREAM.INFO.{StreamNames(client.address.stream).entries}")
    return int(information["config"].get("metadata", {}).get(BEGIN_NAME, "0"))


async def check_streams(client: JetStreamClient) -> None:
    """Check that both streams are there and what they keep. Raises `UsageError`, `Unavailable`."""
    names = StreamNames(client.address.stream)
    try:
        for name in (names.state, names.entries):
            _check_stream(client.address, (await client.call(f"STREAM.INFO.{name}"))["config"])
    except StreamMissing as error:
        raise UsageError(error.message, location=error.location, hint=error.hint) from error


def _check_stream(address: JetStreamAddress, config: Mapping[str, Any]) -> None:
    stored_format = str(config.get("metadata", {}).get(FORMAT_NAME, ""))
    if not stored_format.isdigit():
        raise UsageError(
            _("the stream {name} is not a ledger", name=config["name"]),
            location=address.location,
            hint=_("name another stream in the address"),
        )
    if int(stored_format) > FORMAT:
        raise UsageError(
            _("a newer Onhook wrote this ledger (version {version}, this Onhook supports {supported})",
              version=stored_format, supported=FORMAT),
            location=address.location,
            hint=_("upgrade Onhook"),
        )  # fmt: skip
    if config["num_replicas"] < address.replicas:
        raise UsageError(
            _("the stream {name} has {count} replicas, fewer than {wanted}",
              name=config["name"], count=config["num_replicas"], wanted=address.replicas),
            location=address.location,
            hint=_("give it more with `nats stream edit`, or write replicas={count}", count=config["num_replicas"]),
        )  # fmt: skip
    for name, wanted in _KEPT_SETTINGS.items():
        if config.get(name, wanted) not in (wanted, *_SAME_SETTINGS.get(name, ())):
            raise UsageError(
                _("the stream {stream} has {name}={value}, with which it does not keep what it has confirmed",
                  stream=config["name"], name=name, value=config[name]),
                location=address.location,
                hint=_("set {name} to {wanted} with `nats stream edit`, or move the ledger to a stream of another name",
                       name=name, wanted=wanted),
            )  # fmt: skip
    if config["name"] == StreamNames(address.stream).entries and config["duplicate_window"] < DUPLICATE_WINDOW:
        raise UsageError(
            _("the stream {name} recognises repeats for less than {days} days", name=config["name"],
              days=REPEAT_DAYS_MIN),
            location=address.location,
            hint=_("`nats stream edit {name} --dupe-window={days}d`", name=config["name"], days=REPEAT_DAYS_MIN),
        )  # fmt: skip
