"""The help of one command, cut out of the text that explains all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sttp_reactor.command.usage import Form, Usage, read_option

_FIRST_WORD = re.compile(r"\s*(\S+)")


def help_text(doc: str, usage: Usage, words: Sequence[str]) -> str:
    """What of the docopt text `doc` is about the command that `words` begin with; all of it where they name none.

    A line of its own in a list `Commands:` says what the command does. Of the paragraphs those are kept that begin with
    the name of one of its arguments, of the options those that go with it.
    """
    forms = [form for form in usage.forms if words and words[0] in form.commands]
    paragraphs = doc.strip("\n").split("\n\n")
    program = paragraphs[0].partition(":")[0]
    what = _entry(paragraphs, words[0]) if forms else None
    if what is None:
        return doc.strip("\n")
    kept = [f"{program} {words[0]}: {what[:1].lower()}{what[1:]}"]
    for paragraph in paragraphs[1:]:
        kept += _about(paragraph, words[0], forms, usage)
    return "\n\n".join([*kept, f"'{program} --help' explains all commands."])


def _entry(paragraphs: Sequence[str], command: str) -> str | None:
    """What the list of commands says of `command`, in one line."""
    for paragraph in paragraphs:
        if paragraph.startswith("Commands:\n"):
            found = re.search(rf"^  {re.escape(command)}  +(.*(?:\n {{4,}}.*)*)", paragraph, re.MULTILINE)
            return " ".join(found[1].split()) if found else None
    return None


def _about(paragraph: str, command: str, forms: Sequence[Form], usage: Usage) -> Iterator[str]:
    """The paragraph as far as it is about `command`, if it is at all."""
    first, _, rest = paragraph.partition("\n")
    if first.lower().startswith("usage:"):
        # `program command [options] URL` or `program (command | command) URL`: commands stand before any bracket.
        named = [line for line in rest.split("\n") if command in re.split(r"[\s()|]+", line.partition("[")[0])]
        yield "\n".join([first, *named])
    elif rest.lstrip().startswith("-"):
        options = [entry for entry in _entries(rest) if any(_goes_with(entry, form, usage) for form in forms)]
        if options:
            yield "\n".join([first, *options])
    else:
        word = _FIRST_WORD.match(first)
        if word is not None and any(word[1] in form.names for form in forms):
            yield paragraph


def _entries(lines: str) -> list[str]:
    """The options of a section, each with the lines that explain it."""
    return re.split(r"\n(?=\s*-)", lines)


def _goes_with(entry: str, form: Form, usage: Usage) -> bool:
    name = read_option(entry.strip()).name
    is_listed = any(name in each.options for each in usage.forms)
    return name in form.options or (form.any_option and not is_listed)
