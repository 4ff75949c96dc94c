"""The recorded calls with the channel names of other drivers: the same records."""

import re
from collections.abc import Callable, Mapping

import pytest

from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import bodies, events
from tests.pbx.asterisk.scenario_tables import Scenario, to_table_rows
from tests.pbx.asterisk.scenarios import SCENARIOS

_CHANNEL = re.compile(r"PJSIP/(trunk-a|[0-9]{4,5}(?![0-9@]))(?:-([0-9a-f]{8}))?")


def _name(template: str, trunk_template: str, endpoint: str, sequence: str | None) -> str:
    """Return the name of a channel, or of an endpoint where there is no sequence."""
    driver_template = trunk_template if endpoint == "trunk-a" else template
    if sequence is None:
        return driver_template.rpartition("-")[0].format(endpoint=endpoint)
    number = int(sequence, 16) + 1
    return driver_template.format(endpoint=endpoint, hexadecimal=sequence, number=number, upper=sequence.upper())


DRIVERS: Mapping[str, tuple[str, str]] = {
    "SIP": ("SIP/{endpoint}-{hexadecimal}", "SIP/{endpoint}-{hexadecimal}"),
    "SCCP and IAX2": ("SCCP/{endpoint}-{upper}", "IAX2/{endpoint}-{number}"),
    "Skinny and OOH323": ("Skinny/{endpoint}@SEP001122334455-{number}", "OOH323/{endpoint}-{number}"),
    "IAX2 and DAHDI": ("IAX2/{endpoint}-{number}", "DAHDI/{endpoint}/5550199-{number}"),
    "PJSIP with names": ("PJSIP/user-{endpoint}x-{hexadecimal}", "PJSIP/{endpoint}-{hexadecimal}"),
}


def _replace_names(message: AmiMessage, rename: Callable[[str], str]) -> AmiMessage:
    return AmiMessage(tuple((name, rename(value)) for name, value in message.lines))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_channel_driver_changes_no_record(scenario: Scenario, driver: str) -> None:
    def rename(text: str) -> str:
        return _CHANNEL.sub(lambda match: _name(*DRIVERS[driver], match[1], match[2]), text)

    call_bodies = bodies([_replace_names(message, rename) for message in events(scenario.name)])
    rows = to_table_rows([details for body in call_bodies for details in Asterisk().parse(body)])
    assert rows == list(scenario.expected)
