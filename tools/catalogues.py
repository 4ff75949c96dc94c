"""Keep the message catalogues to the sources: `src/onhook/lib/catalogues/*.po`, one for each language.

Run by `make fix`, which adds new texts without a translation and removes those that are gone; `--check`, in `make
check`, changes nothing, and checks that placeholders, code and markup of a translation are those of the text.
`--complete`, before a release, needs a translation of nearly all texts of each language that readers can choose.
`--missing de` prints what has no translation, with the files that it is in.
"""

import argparse
import ast
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from gettext import c2py
from pathlib import Path
from string import Formatter
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from onhook.lib.languages import LANGUAGES, Formats

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "onhook"
DIRECTORY: Final = SOURCES / "lib" / "catalogues"
FORMATS_FILE: Final = DIRECTORY / "formats.json"
COMPLETE_SHARE: Final = 0.98
"""Of the texts of a language that readers can choose."""

KEYWORDS: Final = {"_": None, "_n": (1, 2), "mark": None}
TEMPLATE_METHOD: Final = "jinja2.ext:babel_extract"
TEMPLATE_OPTIONS: Final = {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}

ENGLISH_SOURCES: Final = (
    *("cli/", "simulator/", "runtime/", "config.py"),
    *("ops/backup.py", "ops/cluster_move.py", "ops/event_transfer.py", "ops/instance_lock.py", "ops/service_units.py"),
    *("ops/restored_erasures.py", "ops/store_snapshot.py"),
)
"""Sources whose texts only commands and the start of the server print: those are in English, like the log."""

Text = str | tuple[str, ...]
"""A text, or one for the number 1 and one for all others."""


def extract_texts(sources: Path = SOURCES) -> dict[Text, list[str]]:
    """Return the texts of the sources, with the files that each is in, in the order of the files."""
    places: dict[Text, list[str]] = {}
    for path in sorted((*sources.rglob("*.py"), *sources.rglob("templates/*.html"))):
        file = path.relative_to(sources).as_posix()
        if not file.startswith(ENGLISH_SOURCES):
            for text in _extract_module(path) if path.suffix == ".py" else _extract_template(path):
                files = places.setdefault(text, [])
                if file not in files:
                    files.append(file)
    # A text that is also the one for the number 1 of another has that one's entry.
    numbered = {text[0] for text in places if not isinstance(text, str)}
    return {text: files for text, files in places.items() if text not in numbered}


def _extract_module(path: Path) -> Iterator[Text]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
            arguments = node.args[: 2 if node.func.id == "_n" else 1]
            texts = [part.value for part in arguments if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if len(texts) == len(arguments) and all(texts):
                yield texts[0] if len(texts) == 1 else tuple(texts)


def _extract_template(path: Path) -> Iterator[Text]:
    with path.open("rb") as file:
        for _line, text, _comments, _context in extract(TEMPLATE_METHOD, file, KEYWORDS, (), TEMPLATE_OPTIONS):
            if text:
                yield text


def read_catalogue(path: Path) -> Catalog:
    """Return a catalogue; an empty one for a new language."""
    if not path.exists():
        return Catalog(locale=path.stem)
    with path.open("rb") as file:
        return read_po(file, locale=path.stem)


def update_catalogue(catalogue: Catalog, texts: Iterable[Text]) -> Catalog:
    """Return the catalogue of these texts, with the translations there are."""
    updated = Catalog(locale=catalogue.locale)
    for text in texts:
        old = catalogue.get(_key(text))
        is_same_shape = old is not None and isinstance(old.id, str) == isinstance(text, str)
        updated.add(text, old.string if old is not None and is_same_shape else "")
    return updated


def format_catalogue(catalogue: Catalog) -> str:
    """Return the file of a catalogue: sorted, and without times and places, so that changes of others rarely meet."""
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=0, no_location=True, omit_header=True, sort_output=True)
    header = (
        f"# Texts of Onhook in {catalogue.locale.english_name}. `make fix` keeps it to the sources.\n"  # type: ignore[union-attr]
        'msgid ""\nmsgstr ""\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        f'"Language: {catalogue.locale}\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
    )
    return header + buffer.getvalue().decode()


def find_worded_forms(catalogue: Catalog) -> frozenset[int]:
    """Return the forms that may have a word in place of the number: those of no number above 2, such as a dual."""
    form_of = c2py(catalogue.plural_expr)
    return frozenset(range(catalogue.num_plurals)) - {form_of(number) for number in range(3, 1_000)}


def find_mistakes(message: Message, worded_forms: Collection[int] = ()) -> Iterator[str]:
    """Yield what is wrong with a translation; `worded_forms` are the forms that may be without their number."""
    if message.fuzzy:
        yield "is marked as fuzzy"
    texts, forms = _as_list(message.id), _as_list(message.string)
    if any(forms) and not all(forms):
        yield "has a form that is empty"
    for index, form in enumerate(forms):
        if not form:
            continue
        text = texts[min(index, len(texts) - 1)] if len(forms) > 1 else texts[-1]
        expected, own = _placeholders(text), _placeholders(form)
        if own != expected and not (len(forms) > 1 and index in worded_forms and _is_same_but_count(own, texts)):
            yield f"has the placeholders {sorted(own)} instead of {sorted(expected)}"
        if _parts(r"`([^`]*)`", form) != _parts(r"`([^`]*)`", text):
            yield "has other code between backticks"
        if _parts(r"(</?[a-z][^>]*>|&[a-z]+;)", form) != _parts(r"(</?[a-z][^>]*>|&[a-z]+;)", text):
            yield "has other markup"
        if _parts(r"(\n|^\s|\s$)", form) != _parts(r"(\n|^\s|\s$)", text):
            yield "has other line breaks, or blanks at its ends"


def _is_same_but_count(own: set[str], texts: Iterable[str]) -> bool:
    """Return whether placeholders are those of one of the texts, with or without its number."""
    return any(
        own in (expected, {name for name in expected if not re.match(r"\{count[:}]", name)})
        for expected in map(_placeholders, texts)
    )


def _parts(pattern: str, text: str) -> Counter[str]:
    return Counter(re.findall(pattern, text))


def _placeholders(text: str) -> set[str]:
    """Return the placeholders of a text, with their formats; none where its braces are no placeholders."""
    try:
        fields = [(name, spec) for _literal, name, spec, _conversion in Formatter().parse(text) if name is not None]
    except ValueError:
        return set()
    if not all(name.isidentifier() for name, _spec in fields):
        return set()
    return {f"{{{name}:{spec}}}" if spec else f"{{{name}}}" for name, spec in fields}


def _key(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else text[0]


def _as_list(texts: str | Sequence[str] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts or ())


def translated_share(catalogue: Catalog) -> float:
    """Return the share of texts that have a translation, 0 to 1."""
    messages = [message for message in catalogue if message.id]
    return sum(_is_translated(message) for message in messages) / len(messages) if messages else 0.0


def _is_translated(message: Message) -> bool:
    return all(_as_list(message.string))


def read_formats(code: str) -> Formats:
    """Return how a language writes dates and numbers, from the CLDR."""
    locale = Locale.parse(code)
    names, skeletons, periods = locale.months, locale.datetime_skeletons, locale.day_periods["format"]["abbreviated"]
    return Formats(
        decimal=str(locale.number_symbols[locale.default_numbering_system]["decimal"]),
        full_date=skeletons["yMMMEd"].pattern,
        short_date=skeletons["MMMEd"].pattern,
        month=skeletons["yMMMM"].pattern,
        morning=str(periods["am"]),
        afternoon=str(periods["pm"]),
        weekdays=tuple(locale.days["format"]["abbreviated"][day] for day in range(7)),
        short_months=tuple(names["format"]["abbreviated"][month] for month in range(1, 13)),
        months=tuple(names["format"]["wide"][month] for month in range(1, 13)),
        lone_months=tuple(names["stand-alone"]["wide"][month] for month in range(1, 13)),
    )


def format_formats(codes: Iterable[str]) -> str:
    """Return the file with how languages write dates and numbers."""
    return (
        json.dumps({code: read_formats(code)._asdict() for code in sorted(codes)}, ensure_ascii=False, indent=1) + "\n"
    )


def list_problems(texts: dict[Text, list[str]], directory: Path, *, is_complete_needed: bool = False) -> Iterator[str]:
    """Yield what is wrong with the catalogues of a directory."""
    for key, number in Counter(map(_key, texts)).items():
        if number > 1:
            yield f"{key!r} is the text for the number 1 of two texts: a catalogue has one entry for both"
    paths = sorted(directory.glob("*.po"))
    for path in paths:
        catalogue = read_catalogue(path)
        updated = update_catalogue(catalogue, texts)
        if format_catalogue(updated) != path.read_text("utf-8"):
            yield f"{path.name}: its texts are not those of the sources: run `make fix`"
        worded_forms = find_worded_forms(catalogue)
        for message in catalogue:
            if message.id:
                mistakes = find_mistakes(message, worded_forms)
                yield from (f"{path.name}: {_key(message.id)!r} {mistake}" for mistake in mistakes)
        if is_complete_needed and path.stem in LANGUAGES and (share := translated_share(updated)) < COMPLETE_SHARE:
            yield f"{path.name}: {share:.1%} of the texts are translated: `--missing {path.stem}` prints the others"
    formats_file = directory / FORMATS_FILE.name
    if formats_file.read_text("utf-8") != format_formats(path.stem for path in paths):
        yield f"{formats_file.name}: it is not that of the CLDR: run `make fix`"


def write_catalogues(texts: dict[Text, list[str]], directory: Path) -> None:
    """Update all catalogues of a directory."""
    paths = sorted(directory.glob("*.po"))
    for path in paths:
        path.write_text(format_catalogue(update_catalogue(read_catalogue(path), texts)), "utf-8")
    (directory / FORMATS_FILE.name).write_text(format_formats(path.stem for path in paths), "utf-8")


def list_missing(texts: dict[Text, list[str]], path: Path) -> Iterator[str]:
    """Yield the texts without a translation, under the names of the files that they are in."""
    catalogue = update_catalogue(read_catalogue(path), texts)
    last_file = ""
    for text, files in texts.items():
        message = catalogue.get(_key(text))
        if message is None or _is_translated(message):
            continue
        if files[0] != last_file:
            last_file = files[0]
            yield f"# {last_file}"
        yield repr(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Update the catalogues, or do what the option says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.catalogues", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="check, changing nothing")
    choice.add_argument("--complete", action="store_true", help="check that what readers can choose is complete too")
    choice.add_argument("--missing", metavar="LANGUAGE", help="print what has no translation")
    options = parser.parse_args(arguments)
    texts = extract_texts()
    if options.missing:
        lines = list(list_missing(texts, DIRECTORY / f"{options.missing}.po"))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    if not (options.check or options.complete):
        write_catalogues(texts, DIRECTORY)
    problems = list(list_problems(texts, DIRECTORY, is_complete_needed=options.complete))
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
