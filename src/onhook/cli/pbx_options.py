"""Options of `onhook pbx add` and `onhook pbx change`."""

from typing import Annotated, Any

import typer

from onhook.cli.options import option_with_default
from onhook.lib.messages import _

DialectOption = Annotated[
    str,
    typer.Option(
        "--dialect",
        "--type",
        metavar="DIALECT",
        help=_("Dialect: yeastar, newcdr for S-Series and Cloud, freeswitch, grandstream, 3cx, avaya, or cucm"),
    ),
]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="ADDRESS",
        help=_("Address or network that identifies a PBX that cannot sign"),
        show_default=False,
    ),
]
PathOption = Annotated[
    str | None,
    typer.Option(
        "--path", metavar="PATH", help=_("Secret path that identifies a PBX that cannot sign"), show_default=False
    ),
]
PbxZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone", metavar="ZONE", help=_("Time zone, for calls whose ids do not contain it"), show_default=False
    ),
]


def _ranges_option(flag: str, help_text: str, default: str) -> Any:
    return option_with_default(flag, metavar="RANGES", help_text=help_text, default=default)


SilenceOption = Annotated[
    str | None,
    typer.Option(
        "--silence",
        metavar="MINUTES",
        help=_("Minutes of silence before an alarm: a number, never, or auto"),
        show_default=False,
    ),
]
RecordingsOption = Annotated[
    str | None,
    typer.Option(
        "--recordings",
        metavar="DIR",
        help=_("Directory of its recordings on this machine; '' for none"),
        show_default=False,
    ),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="DAYS",
        help=_("Retention of its calls in days: a number, always, or auto"),
        show_default=False,
    ),
]
IvrOption = Annotated[str | None, _ranges_option("--ivr", _("Numbers of its IVRs"), "6200-6299")]
QueueOption = Annotated[str | None, _ranges_option("--queue", _("Numbers of its queues"), "6400-6499")]
RingGroupOption = Annotated[str | None, _ranges_option("--ring-group", _("Numbers of its ring groups"), "6300-6399")]
ConferenceOption = Annotated[str | None, _ranges_option("--conference", _("Numbers of its conferences"), "6500-6599")]
VoicemailOption = Annotated[str | None, _ranges_option("--voicemail", _("Numbers of its voicemail"), "none")]
ExtensionOption = Annotated[
    str | None, _ranges_option("--extension", _("Numbers of extensions with more digits"), "none")
]
ExtensionDigitsOption = Annotated[
    str | None,
    option_with_default("--extension-digits", metavar="N", help_text=_("Digits of an extension at most"), default="7"),
]
KeepUnregisteredOption = Annotated[
    bool | None,
    option_with_default(
        "--keep-unregistered/--reject-unregistered",
        help_text=_("Whether events with another serial number are kept that its secret signs"),
        default="kept",
    ),
]
SnOption = Annotated[
    str | None, typer.Option("--sn", metavar="SN", help=_("Serial number of the PBX"), show_default=False)
]
NewNameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help=_("New name"), show_default=False)]
SignedOption = Annotated[
    bool | None, typer.Option("--signed/--unsigned", help=_("Whether it must sign"), show_default=False)
]
AddSnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--add-sn",
        metavar="SN",
        help=_("Further serial number, as of a standby or after a replacement; its calls are joined"),
        show_default=False,
    ),
]
RemoveSnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--remove-sn",
        metavar="SN",
        help=_("Further serial number whose events are not its calls from now on"),
        show_default=False,
    ),
]
FeaturesOption = Annotated[
    str | None,
    option_with_default(
        "--features",
        metavar="NAMES",
        help_text=_("Names that it reports for what is no person, such as a survey"),
        default="those of a P-Series",
    ),
]
