"""`system/information`: model and firmware of the PBX that an app sees."""

from collections.abc import Mapping
from typing import Final

from onhook.pbx_api.codes import ApiResponse, success_response
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState

HARDWARE: Final = "V1.00 0000-0000"
"""Software PBX: the examples in the vendor's manual show zeros."""

_TIME_FORMATS: Final[Mapping[str, str]] = {"24": "hh:mm:ss", "12": "hh:mm:ss A"}
_MICROSECONDS = 1_000_000


async def read_information(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Return model, firmware and the displayed time; its difference to `timestamp` is the offset from UTC."""
    behaviour, display = request.owner.behaviour, request.display
    now = request.received_at.replace(microsecond=0)
    sns = request.owner.pbxs or await state.calls.sns()
    offset = await state.calls.utc_offset(now, request.owner.pbxs)
    return success_response(
        data={
            "device_name": request.owner.name,
            "model_name": behaviour.model,
            "sn": sns[0] if len(sns) == 1 else "",
            "hardware_version": HARDWARE,
            "firmware_version": behaviour.firmware,
            "system_time": display.format(now.replace(tzinfo=None) + offset),
            "up_time": (state.clock.microseconds() - state.started_at) // _MICROSECONDS,
            "system_date_format": display.date_format,
            "system_time_format": _TIME_FORMATS[display.time_format],
            "timestamp": int(now.timestamp()),
        }
    )
