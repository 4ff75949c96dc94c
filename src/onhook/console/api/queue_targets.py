"""`/api/v1/queue-targets`: the seconds of the service level and of a short abandon, by queue and ring group."""

from typing import Annotated

import msgspec
from litestar import get, put
from litestar.params import BodyKwarg

from onhook.appdb.queue_targets import QUEUE_CHARACTERS_MAX, TARGET_SECONDS_MAX
from onhook.cdr.queue_figures import (
    SERVICE_LEVEL_SECONDS_DEFAULT,
    SHORT_ABANDON_SECONDS_DEFAULT,
    QueueTargets,
)
from onhook.console.parameters import Label
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep

QueueNumber = Annotated[str, msgspec.Meta(min_length=1, max_length=QUEUE_CHARACTERS_MAX)]
TargetSeconds = Annotated[int, msgspec.Meta(ge=0, le=TARGET_SECONDS_MAX)]


class QueueTargetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a queue or ring group of a PBX, which is named or has this serial number."""

    pbx: Label
    queue: QueueNumber
    service_level_seconds: TargetSeconds = SERVICE_LEVEL_SECONDS_DEFAULT
    short_abandon_seconds: TargetSeconds = SHORT_ABANDON_SECONDS_DEFAULT


class QueueTargetList(msgspec.Struct, frozen=True):
    """The settings of all queues that differ from the usual ones."""

    data: list[QueueTargetSettings]
    next: None = None


@get("/queue-targets", summary="List the settings of queues", tags=["calls"], responses=PROBLEMS)
async def list_queue_targets(app_state: AppStateDep) -> QueueTargetList:
    """List the queues and ring groups whose settings differ from the usual ones."""
    names = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    targets_by_queue = await app_state.appdb.queue_targets.all()
    return QueueTargetList(
        [
            QueueTargetSettings(
                pbx=names.get(sn, sn),
                queue=queue,
                service_level_seconds=targets.service_level_seconds,
                short_abandon_seconds=targets.short_abandon_seconds,
            )
            for (sn, queue), targets in targets_by_queue.items()
        ]
    )


@put("/queue-targets", summary="Change the settings of a queue", tags=["calls"], responses=PROBLEMS)
async def put_queue_targets(
    app_state: AppStateDep, data: Annotated[QueueTargetSettings, BodyKwarg()]
) -> QueueTargetSettings:
    """Set both; what is left out has its usual value. Reports of all periods follow."""
    pbx = await app_state.appdb.pbx(data.pbx)
    targets = QueueTargets(
        service_level_seconds=data.service_level_seconds, short_abandon_seconds=data.short_abandon_seconds
    )
    await app_state.appdb.queue_targets.put(pbx.sn, data.queue, targets)
    return msgspec.structs.replace(data, pbx=pbx.name)


ROUTES = (list_queue_targets, put_queue_targets)
