"""The filter on members of `extra`."""

from typing import Any

import pytest

from onhook.cdr.extra_filter import CONDITIONS_MAX, NAME_CHARACTERS_MAX, ExtraFilter
from onhook.lib.errors import UsageError


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("account_code=4711", [("account_code", "4711")]),
        (" account_code = 4711 , team=red", [("account_code", "4711"), ("team", "red")]),
        ("note=red, green", [("note", "red, green")]),
        ("note=a=b", [("note", "a=b")]),
        ("x-y.z Größe=1", [("x-y.z Größe", "1")]),
    ],
)
def test_extra_filter_text_is_parsed(text: str, conditions: list[tuple[str, str]]) -> None:
    assert list(ExtraFilter.parse(text).conditions) == conditions


@pytest.mark.parametrize("text", ["4711", "=4711", "account_code=", "a=1,b=", f"{'n' * (NAME_CHARACTERS_MAX + 1)}=1"])
def test_extra_filter_invalid_text_is_rejected(text: str) -> None:
    with pytest.raises(UsageError) as error_info:
        ExtraFilter.parse(text)
    assert str(error_info.value).startswith("invalid extra: ")
    assert error_info.value.hint == "write NAME=VALUE, such as account_code=4711; several are separated by commas"


def test_extra_filter_with_too_many_conditions_is_rejected() -> None:
    conditions = [f"n{number}=1" for number in range(CONDITIONS_MAX)]
    assert len(ExtraFilter.parse(",".join(conditions)).conditions) == CONDITIONS_MAX
    with pytest.raises(UsageError) as error_info:
        ExtraFilter.parse(",".join([*conditions, "one=1"]))
    assert (str(error_info.value), error_info.value.hint) == (
        f"extra has more than {CONDITIONS_MAX} conditions: leave some out",
        "leave some out",
    )


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("4711", "4711", True),
        (4711, "4711", True),
        ("4711", "471", False),
        ("Red", "red", False),
        (True, "true", True),
        (False, "false", True),
        (True, "1", False),
        (None, "None", False),
        (1.5, "1.5", False),
        (2**64 - 1, str(2**64 - 1), True),
        (2**64, str(2**64), False),
        (-(2**63), str(-(2**63)), True),
        (-(2**63) - 1, str(-(2**63) - 1), False),
        (["x"], "['x']", False),
    ],
)
def test_extra_filter_value_is_compared_as_text(value: Any, text: str, expected: bool) -> None:
    assert ExtraFilter.parse(f"member={text}").matches({"member": value}) is expected


def test_extra_filter_all_conditions_must_match() -> None:
    both = ExtraFilter.parse("account_code=4711,team=red")
    assert both.matches({"account_code": "4711", "team": "red"})
    assert not both.matches({"account_code": "4711", "team": "blue"})
    assert not both.matches({"account_code": "4711"})
