"""People, numbers and trunks of the simulated office. Pure: the same seed gives the same office."""

from random import Random

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

FIRST_EXTENSION = 1001
EXTENSIONS_MAX = 999
"""1001 to 1999: more extensions would overlap other ranges of the number plan."""

CALLER_COUNT = 400
"""Number of external callers: few enough that many call again."""

FIRST_NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy",
    "Kim", "Lena", "Mallory", "Niaj", "Olivia", "Peggy", "Quentin", "Rupert", "Sybil", "Trent",
    "Uma", "Victor", "Wendy", "Xavier", "Yusuf", "Zoë",
)  # fmt: skip

# Each area code has 555-0100 to 555-0199, which are reserved for fiction.
_AREA_CODES = ("202", "303", "415", "512", "617", "718")
_ANONYMOUS = "anonymous"


class Party(msgspec.Struct, frozen=True):
    """One end of a leg: a number and a name; either may be empty."""

    number: str
    name: str = ""

    def format(self, with_name: bool) -> str:
        """Return the text in an event: the bare number or `Name<number>`; the name if there is no number.

        >>> Party("1001", "Alice").format(True), Party("1001", "Alice").format(False), Party("", "Prompt").format(False)
        ('Alice<1001>', '1001', 'Prompt')
        """
        if not self.number:
            return self.name
        return f"{self.name}<{self.number}>" if with_name and self.name else self.number


class Did(msgspec.Struct, frozen=True):
    """An external number of the office, and its trunk."""

    number: str
    name: str
    trunk: str


IVRS = (
    Party("6200", "IVR Welcome"),
    Party("6201", "IVR Main"),
    Party("6202", "IVR Service"),
    Party("6203", "IVR Delivery"),
)
QUEUE = Party("6400", "Queue Team")
RING_GROUP = Party("6300", "Ring Group Sales")
SURVEY = Party("", "Satisfaction Survey")

TRUNKS = ("Trunk-A", "Trunk-B")
DID_MAIN = Did("5550000", "Main line", TRUNKS[0])
DID_SALES = Did("5550001", "Sales", TRUNKS[0])
DID_DIRECT = Did("5550002", "Direct dialling", TRUNKS[1])


class Directory(msgspec.Struct, frozen=True):
    """People of the office. `agents` are the extensions that answer queue 6400, `sales` those of ring group 6300."""

    extensions: tuple[Party, ...]
    agents: tuple[Party, ...]
    sales: tuple[Party, ...]
    callers: tuple[Party, ...]

    def choose_caller(self, rng: Random) -> Party:
        """Return an external caller; the first ones of the list are far more frequent than the last."""
        return self.callers[int(len(self.callers) * rng.random() ** 2)]

    def choose_two_extensions(self, rng: Random) -> tuple[Party, Party]:
        """Return two different extensions."""
        first, second = rng.sample(self.extensions, 2)
        return first, second


def create_directory(seed: int, extension_count: int) -> Directory:
    """Return the office of this seed with this number of extensions, from Alice 1001 on. Raises `UsageError` for a
    number out of range.
    """
    if not 2 <= extension_count <= EXTENSIONS_MAX:
        raise UsageError(
            _("an office cannot have {count} extensions", count=extension_count),
            hint=_("use 2 to {maximum}", maximum=EXTENSIONS_MAX),
        )
    parties = tuple(Party(str(FIRST_EXTENSION + index), _extension_name(index)) for index in range(extension_count))
    return Directory(
        extensions=parties,
        agents=parties[: max(2, extension_count // 3)],
        sales=parties[-max(2, extension_count // 5) :],
        callers=_create_callers(Random(f"{seed}/callers")),
    )


def _extension_name(index: int) -> str:
    cycle = index // len(FIRST_NAMES)
    return FIRST_NAMES[index % len(FIRST_NAMES)] + (f" {cycle + 1}" if cycle else "")


def _create_callers(rng: Random) -> tuple[Party, ...]:
    numbers = [f"{area}55501{suffix:02}" for area in _AREA_CODES for suffix in range(100)]
    selected_numbers = rng.sample(numbers, CALLER_COUNT - 1)
    callers = [Party(rng.choice(("", "", "+1", "001")) + number) for number in selected_numbers]
    callers.insert(CALLER_COUNT // 2, Party(_ANONYMOUS))
    return tuple(callers)
