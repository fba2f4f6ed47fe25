"""The sdist holds the whole checkout: whoever builds from it runs the tests, too. setup.cfg names this class."""

from __future__ import annotations

from setuptools.command.sdist import sdist

# As MANIFEST.in would say it, which could lie nowhere but beside setup.cfg.
_TEMPLATE = ("include .ci/run .gitignore", "graft tests", "graft tools", "global-exclude *.py[cod] __pycache__")


class WholeCheckout(sdist):
    def make_distribution(self) -> None:
        for line in _TEMPLATE:
            self.filelist.process_template_line(line)
        super().make_distribution()
