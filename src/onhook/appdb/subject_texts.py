"""Sentences about what a destination notifies of: a whole text for each subject, because a word that is put into a
sentence cannot be inflected by a translation.
"""

from onhook.appdb.destination_spec import NotifiesOf
from onhook.lib.messages import _


def describe_subject(name: str, subject: NotifiesOf) -> str:
    """Return what the destination with this name notifies of."""
    if subject == "alarms":
        return _("{name} notifies of alarms", name=name)
    if subject == "issues":
        return _("{name} notifies of issues", name=name)
    if subject == "calls":
        return _("{name} notifies of calls", name=name)
    return _("{name} notifies of records", name=name)


def refuse_replay(name: str, subject: NotifiesOf) -> str:
    """Return why a destination of an operational subject is not replayed."""
    if subject == "alarms":
        return _("{name} notifies of alarms, which cannot be replayed", name=name)
    return _("{name} notifies of issues, which cannot be replayed", name=name)


def refuse_transform(subject: NotifiesOf) -> str:
    """Return why the members of an operational subject are not changed."""
    return _("alarms have no members to change") if subject == "alarms" else _("issues have no members to change")


def refuse_subject(kind: str, subject: NotifiesOf) -> str:
    """Return why a kind of destination does not have this operational subject; all have records and calls."""
    if subject == "alarms":
        return _("a destination of the kind {kind} cannot notify of alarms", kind=kind)
    return _("a destination of the kind {kind} cannot notify of issues", kind=kind)
