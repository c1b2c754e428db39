"""What the commands that speak through a running server share: options, errors, exit status."""

from __future__ import annotations

import argparse
import sys

from clients.errors import ConnectFailed, ServerError, SessionLost

EXIT_OK, EXIT_SERVER, EXIT_ARGUMENTS, EXIT_CONNECTION = 0, 1, 2, 3
DEFAULT_URL = "ws://127.0.0.1:8080"


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the server is and what admits to it."""
    parser.add_argument("--url", default=DEFAULT_URL, help=f"server (default: {DEFAULT_URL})")
    parser.add_argument("--token", help="API key")


def add_voice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who speaks, and in which language."""
    parser.add_argument("--voice", help="voice id (default: the server's)")
    parser.add_argument("--style", help="style of the voice")
    parser.add_argument("--lang", help="zh, en, ja, ko, yue or auto")


def complain(error: Exception) -> int:
    """Print the error and return the exit status that stands for its kind."""
    print(f"error: {error}", file=sys.stderr)
    if isinstance(error, ConnectFailed | SessionLost):
        return EXIT_CONNECTION
    return EXIT_SERVER if isinstance(error, ServerError) else EXIT_ARGUMENTS
