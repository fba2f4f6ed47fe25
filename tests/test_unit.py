"""tools/sttpd.service fits what the server does and needs."""

from __future__ import annotations

import re
from pathlib import Path

from sttp_reactor.cli.program import CONFIGURATION_EXIT
from sttp_reactor.command.arguments import COMMAND_LINE_EXIT
from sttp_reactor.daemon.lifecycle import OWN_DESCRIPTORS
from sttp_reactor.limits import MAX_CONNECTIONS, SHUTDOWN_TIMEOUT

ROOT = Path(__file__).parent.parent
UNIT = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "tools" / "sttpd.service").read_text(), re.MULTILINE))


def test_what_would_fail_again_is_not_started_again() -> None:
    assert UNIT["RestartPreventExitStatus"].split() == [str(COMMAND_LINE_EXIT), str(CONFIGURATION_EXIT)]


def test_the_open_files_are_enough_for_the_connections() -> None:
    """Those of the default, and those of README's configuration."""
    in_readme = [int(number) for number in re.findall(r"max_connections: (\d+)", (ROOT / "README.rst").read_text())]
    assert in_readme
    assert int(UNIT["LimitNOFILE"]) >= max(MAX_CONNECTIONS, *in_readme) + OWN_DESCRIPTORS


def test_there_is_time_to_stop() -> None:
    assert int(UNIT["TimeoutStopSec"]) > SHUTDOWN_TIMEOUT


def test_the_parent_alone_is_told_to_stop_and_says_when_its_children_are() -> None:
    """What a manager sends to all processes of a group reaches the children beside their parent's word; whatever is
    left when the time is up is still killed."""
    assert UNIT["KillMode"] == "mixed"
