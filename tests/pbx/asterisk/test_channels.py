"""Channel names of each driver: the endpoint is what an operator configures, the number what a caller dials."""

import pytest

from onhook.pbx.asterisk.channels import is_dialled, parse_channel


@pytest.mark.parametrize(
    ("name", "endpoint", "number"),
    [
        ("PJSIP/1002-0000001a", "1002", "1002"),
        ("PJSIP/+15550100-0000001a", "+15550100", "+15550100"),
        ("PJSIP/1002-web-0000001a", "1002-web", ""),
        ("PJSIP/webrtc_1002-0000001a", "webrtc_1002", ""),
        ("PJSIP/trunk-a-1", "trunk-a-1", ""),
        ("SIP/provider.example.net-0000001a", "provider.example.net", ""),
        ("SIP/1002-b7c3d8a0", "1002", "1002"),
        ("IAX2/1002-4321", "1002", "1002"),
        ("IAX2/10.0.0.1:4569-3", "10.0.0.1:4569", ""),
        ("DAHDI/33-1", "33", ""),
        ("DAHDI/i1/5550199-3c", "i1", ""),
        ("Zap/1-1", "1", ""),
        ("CAPI/ISDN1/5550199-1a", "ISDN1", ""),
        ("mISDN/2-u14", "2", ""),
        ("Khomp/B1C2-0.0", "B1C2", ""),
        ("Dongle/dongle0-0100000003", "dongle0", ""),
        ("Quectel/quectel1-0200000abc", "quectel1", ""),
        ("Motif/+15551234567@voice.google.com-1a2b", "+15551234567@voice.google.com", ""),
        ("OOH323/gateway-17", "gateway", ""),
        ("H323/gateway-1a2b", "gateway", ""),
        ("SCCP/1002-0000001A", "1002", "1002"),
        ("SCCP/1002-1", "1002", "1002"),
        ("Skinny/1002@SEP001122334455-7", "1002@SEP001122334455", "1002"),
        ("USTM/1002@desk-0x7f3a5c001b20", "1002@desk", "1002"),
        ("MGCP/aaln/1@gw-1", "aaln/1@gw", ""),
        ("Console/dsp", "dsp", ""),
        ("Agent/1002", "1002", "1002"),
        ("Local/1002@from-internal-0000001a;1", "1002@from-internal", "1002"),
        ("Local/FMPR-1002@from-internal-0000001a;2", "FMPR-1002@from-internal", "1002"),
        ("Local/1002@a-00000001-b-0000001a;2", "1002@a-00000001-b", "1002"),
        ("Local/s@macro-dial-0000001a;2", "s@macro-dial", ""),
        ("AsyncGoto/PJSIP/1002-0000001a", "1002", "1002"),
        ("PJSIP/1002-0000001a<ZOMBIE>", "1002", "1002"),
        ("nonsense", "", ""),
    ],
)
def test_channel_name_has_endpoint_and_number(name: str, endpoint: str, number: str) -> None:
    channel = parse_channel(name)
    assert (channel.endpoint, channel.number) == (endpoint, number)


@pytest.mark.parametrize(
    "extension",
    [
        "s",
        "h",
        "fax",
        "talk",
        "s-NOANSWER",
        "s-CHANUNAVAIL",
        "s-NO_ANSWER",
        "exit-SUCCESS",
        "vmret",
        "vmu1001",
        "hangup",
        "zapateller",
    ],
)
def test_extension_of_the_dialplan_alone_is_not_dialled(extension: str) -> None:
    assert not is_dialled(extension)


@pytest.mark.parametrize("extension", ["1001", "stuart", "s-bahn", "s-1001", "*97", "faxes", "vmware"])
def test_extension_with_a_similar_name_is_dialled(extension: str) -> None:
    assert is_dialled(extension)
