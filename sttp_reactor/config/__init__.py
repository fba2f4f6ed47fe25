"""The configuration: YAML text and flags in, frozen settings out, or every mistake at once.

What a program can be told is a `Table`: one row per key, with its default, what is allowed, and its line of the manual.
Any program brings its own; nothing here knows one. `values.py` holds what was written where, `readers.py` and
`records.py` say what is allowed, `document.py` takes the YAML apart, `load.py` puts all together, `show.py` prints it
back, and `changes.py` tells two settings apart.
"""

from sttp_reactor.config.changes import Difference, differences, keep
from sttp_reactor.config.load import FlagError, Loaded, Override, load
from sttp_reactor.config.show import as_yaml, manual, print_config
from sttp_reactor.config.table import Key, Table
from sttp_reactor.errors import ConfigError

__all__ = [
    "ConfigError",
    "Difference",
    "FlagError",
    "Key",
    "Loaded",
    "Override",
    "Table",
    "as_yaml",
    "differences",
    "keep",
    "load",
    "manual",
    "print_config",
]
