"""Words of the API that pages show translated: states, roles, kinds. Forms, URLs and programs have them unchanged."""

from onhook.lib.messages import _, mark

_WORDS = frozenset(
    {
        *(mark("reader"), mark("annotator"), mark("administrator")),
        *(mark("accepted"), mark("throttled"), mark("rejected"), mark("unreachable"), mark("gone")),
        *(mark("retrying"), mark("delivered"), mark("failed")),
        *(mark("records"), mark("calls"), mark("alarms"), mark("issues")),
        *(mark("complete"), mark("connected"), mark("gap"), mark("mixed"), mark("future")),
        *(mark("none"), mark("all"), mark("missed"), mark("off")),
        *(mark("reporting"), mark("quiet"), mark("tested"), mark("waiting")),
        *(mark("Inbound"), mark("Outbound"), mark("Internal")),
    }
)


def show_word(text: str) -> str:
    """Return a word in the language of the reader; an unknown one unchanged."""
    return _(text) if text in _WORDS else text
