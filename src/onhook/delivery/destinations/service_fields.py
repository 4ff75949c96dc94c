"""Fields of the kinds that are services with a protocol of their own over HTTP (`kinds`)."""

from typing import Annotated, Literal

import msgspec

from onhook.lib.messages import mark


class LoginFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a service with users, whose password or key is the secret."""

    login: Annotated[str, msgspec.Meta(description=mark("User to log in as"), max_length=200)] = ""


class ClickhouseFields(LoginFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a ClickHouse server; without a login the user is `default`."""


class OdooFields(LoginFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of an Odoo. `country` is an ISO 3166 code; the link of a call begins with `console_url`."""

    database: Annotated[
        str, msgspec.Meta(description=mark("Name of the database"), max_length=100, pattern="^[A-Za-z0-9_.-]*$")
    ] = ""
    interface: Annotated[
        Literal["json-rpc", "json-2"], msgspec.Meta(description=mark("Interface; json-2 from Odoo 19 on"))
    ] = "json-rpc"
    country: Annotated[
        str, msgspec.Meta(description=mark("Country of numbers without a country code, as DE"), pattern="^([A-Z]{2})?$")
    ] = ""
    activity: Annotated[
        Literal["none", "missed", "all"],
        msgspec.Meta(description=mark("Calls for which an activity to call back is planned, beside the note")),
    ] = "none"
    new_leads: Annotated[
        bool, msgspec.Meta(description=mark("Add a lead for an external number that no contact or lead has"))
    ] = False
    console_url: Annotated[
        str,
        msgspec.Meta(
            description=mark("URL of this console, for links to calls and recordings"),
            max_length=500,
            pattern=r"^(https?://[!-~]+)?$",
        ),
    ] = ""


class OtlpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a collector of OpenTelemetry."""

    service_name: Annotated[
        str, msgspec.Meta(description=mark("service.name of the log records"), min_length=1, max_length=100)
    ] = "onhook"
