"""Fields of the kinds that are services with a protocol of their own over HTTP (`kinds`)."""

from typing import Annotated

import msgspec


class ClickhouseFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a ClickHouse server; without a login the user is `default`."""

    login: Annotated[str, msgspec.Meta(description="User to log in as", max_length=200)] = ""


class OtlpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a collector of OpenTelemetry."""

    service_name: Annotated[
        str, msgspec.Meta(description="service.name of the log records", min_length=1, max_length=100)
    ] = "onhook"
