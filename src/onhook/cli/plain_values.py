"""Values of options that are plainly valid, converted without the library that Typer converts values with.

Typer converts every value by pydantic, also the missing ones, and to import it and to build its converters takes longer
than most commands run.

Invariant: what is converted here is what Typer would return. Every other value is Typer's, with the text of its error.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

WHOLE_NUMBER_DIGITS_MAX = 18
"""Of a number that is converted here: more than any option takes."""

ProcessValue = Callable[[Any, Any], Any]
"""Typer's conversion of the value of a parameter, with its checks."""

NOT_PLAIN = object()
"""Result for a value that is left to Typer; None is a value."""


class PlainValueCommand(TyperCommand):
    """A command that leaves to Typer only values that are not plainly valid."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the option for the help among them."""
        return _convert_plain_values(super().get_params(ctx))


class PlainValueGroup(TyperGroup):
    """A group of commands whose own options are like those of the commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the option for the help among them."""
        return _convert_plain_values(super().get_params(ctx))


def _convert_plain_values(parameters: list[Any]) -> list[Any]:
    """Return the parameters, which leave to Typer only values that are not plainly valid."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption | TyperArgument) and "process_value" not in vars(parameter):
            # Typer has no other place for a conversion that leaves some values to its own.
            parameter.process_value = partial(_process_value, parameter, parameter.process_value)  # type: ignore[method-assign]
    return parameters


def _process_value(
    parameter: TyperOption | TyperArgument, process_value: ProcessValue, context: Any, value: Any
) -> Any:
    plain_value = _convert_plain_value(parameter, value)
    if plain_value is NOT_PLAIN:
        return process_value(context, value)
    return plain_value if parameter.callback is None else parameter.callback(context, parameter, plain_value)


def _convert_plain_value(parameter: TyperOption | TyperArgument, value: Any) -> Any:
    """Return the converted value, or `NOT_PLAIN`."""
    if parameter.type_descriptor.parameter_info.parser is not None:
        return NOT_PLAIN
    has_many_values = parameter.multiple or parameter.nargs != 1
    if value is None and not parameter.required:
        return () if has_many_values else None
    if has_many_values:
        return _convert_texts(parameter, value)
    if (choices := parameter.type_descriptor.choices) is not None:
        return value if isinstance(value, str) and value in choices else NOT_PLAIN
    if isinstance(value, bool):
        return value if parameter.type_descriptor.annotation is bool else NOT_PLAIN
    if parameter.type_descriptor.annotation is int:
        return _convert_whole_number(parameter, value)
    return value if parameter.type_descriptor.annotation is str and isinstance(value, str) else NOT_PLAIN


def _convert_texts(parameter: TyperOption | TyperArgument, values: Sequence[Any]) -> Any:
    is_plain = parameter.type_descriptor.annotation == list[str] and len(values) > 0
    return list(values) if is_plain and all(isinstance(value, str) for value in values) else NOT_PLAIN


def _convert_whole_number(parameter: TyperOption | TyperArgument, value: Any) -> Any:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= WHOLE_NUMBER_DIGITS_MAX):
        return NOT_PLAIN
    number, limits = int(text), parameter.type_descriptor.parameter_info
    is_in_range = (limits.min is None or number >= limits.min) and (limits.max is None or number <= limits.max)
    return number if is_in_range else NOT_PLAIN
