"""The command line: ``gradsift demo | audit | trim | verify | report | plan``."""

from gradsift.cli.app import main

__all__ = ["main"]
