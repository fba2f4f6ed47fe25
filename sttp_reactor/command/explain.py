"""Why docopt refused a command line, in one sentence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from sttp_reactor.command.usage import Form, Usage, listed
from sttp_reactor.command.walk import Walk
from sttp_reactor.suggest import did_you_mean, nearest

# The argument that is a text, by the name that usages give it.
_TEXT: Final = ("CONTENT",)


def explain(usage: Usage, walk: Walk, synonyms: Mapping[str, str]) -> str:
    """Say why docopt refused a line whose options are all known and complete. `synonyms`: what else people call the
    commands."""
    words, commands = walk.words, usage.commands
    form = _intended_form(usage, words)
    if form is None and not words:
        return f"a command is missing: {listed(commands)}"
    near = nearest(words[0], commands, synonyms) if words else None
    if form is None or (len(words) > form.most and not form.commands and near):
        return f"unknown command {words[0]}" + (did_you_mean(near) or f"; there is {listed(commands, 'and')}")
    if len(words) < form.fewest:
        return f"argument {form.names[len(words)]} is missing"
    if len(words) > form.most:
        return f"superfluous argument {words[form.most]!r}{_in_quotes(form, words)}"
    return _explain_options(usage, form, walk)


def _in_quotes(form: Form, words: list[str]) -> str:
    """A text of several words, which the shell has made several arguments of."""
    first = form.most - 1
    if form.names[first : form.most] != _TEXT:
        return ""
    return f"; a text of several words stands in quotes: {shlex.quote(' '.join(words[first:]))}"


def _intended_form(usage: Usage, words: list[str]) -> Form | None:
    fitting = [form for form in usage.forms if words and words[0] in form.commands]
    fitting = fitting or [form for form in usage.forms if not form.commands]
    # Of several lines the one that wants the nearest number of words is the one that was meant.
    return min(fitting, key=lambda form: max(form.fewest - len(words), len(words) - form.most, 0), default=None)


def _explain_options(usage: Usage, form: Form, walk: Walk) -> str:
    names = [option.name for option in walk.given]
    in_lines = {name for each in usage.forms for name in each.options}
    for name in names:
        if names.count(name) > 1 and name not in usage.repeatable:
            return f"option {name} is given twice"
        if name not in form.options and (name in in_lines or not form.any_option):
            return f"option {name} does not go with {walk.words[0] if form.commands else 'this'}"
    missing = [name for name in sorted(form.options) if name not in names]
    if len(names) > 1:
        return f"options {listed(names, 'and')} do not go together"
    return f"an option is missing, such as {listed(missing)}" if missing else "wrong combination of arguments"
