"""Fields of the kinds that are services with a protocol of their own over HTTP (`kinds`)."""

from typing import Annotated

import msgspec


class OtlpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a collector of OpenTelemetry."""

    service_name: Annotated[
        str, msgspec.Meta(description="service.name of the log records", min_length=1, max_length=100)
    ] = "onhook"
