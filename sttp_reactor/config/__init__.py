"""The configuration: YAML text and flags in, a frozen `Settings` out, or every mistake at once.

`keys.py` is the table: one row per key, with its default, what is allowed, and its line of the manual. A new key is
one row there and one field in `settings.py`. `values.py` holds what was written where, `readers.py` (for
`access`, `rules.py`) says what is allowed, `document.py` takes the YAML apart, `load.py` puts all together, `show.py`
prints it back.
"""

from sttp_reactor.config.load import FlagError, Loaded, Override, contradictions, load
from sttp_reactor.config.settings import AccessRule, CacheSettings, LimitSettings, LogSettings, Settings
from sttp_reactor.config.show import as_yaml, manual, print_config
from sttp_reactor.errors import ConfigError

__all__ = [
    "AccessRule",
    "CacheSettings",
    "ConfigError",
    "FlagError",
    "LimitSettings",
    "Loaded",
    "LogSettings",
    "Override",
    "Settings",
    "TlsSettings",
    "as_yaml",
    "contradictions",
    "load",
    "manual",
    "print_config",
]
