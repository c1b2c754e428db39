"""Report what works here and how to get the rest.

Exit status: 0 if `sovits-live serve` can start as configured, 1 if not.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from engine.errors import SovitsError
from server import config as configuration
from server import doctor
from server.config import Config
from server.doctor import Finding, Status
from server.errors import ConfigError

Check = Callable[[Config], Iterator[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--config", type=Path, help="TOML file, as given to serve")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any configuration key"
    )
    parser.add_argument(
        "--gpu-check",
        choices=("tensorrt", "tensorrt_rtx"),
        help="build, compare and soak the configured engine on this machine's GPU instead",
    )
    parser.add_argument(
        "--soak-s", type=float, default=60.0, metavar="SECONDS", help="of --gpu-check"
    )
    parser.add_argument(
        "--network", action="store_true", help="also try the hubs of sovits-live model pull"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; return the exit status."""
    try:
        config = configuration.load(args.config, settings=args.set)
    except ConfigError as error:
        print(_line(Finding(Status.BROKEN, "configuration", str(error))))
        return 1
    if args.gpu_check:
        return _check_gpu(config, args.gpu_check, args.soak_s)
    is_broken = False
    for finding in examine(config, tries_network=args.network):
        print(_line(finding), flush=True)
        is_broken |= finding.status is Status.BROKEN
    print("\nsovits-live serve cannot start: see !! above" if is_broken else "\nready to serve")
    return int(is_broken)


def _check_gpu(config: Config, backend: str, soak_s: float) -> int:
    """Print the acceptance of a GPU machine, step by step; 0 when every step passed."""
    passed = False
    try:
        from engine.gpu_acceptance import accept

        engine = configuration.engine_config(replace(config.engine, backend=backend))
        for check in accept(engine, soak_s=soak_s):
            passed = check.passed
            status = Status.OK if passed else Status.BROKEN
            print(_line(Finding(status, check.name, check.detail)), flush=True)
    except SovitsError as error:
        print(_line(Finding(Status.BROKEN, "pack", str(error))))
        return 1
    print("\nthe GPU passes" if passed else "\nthe GPU cannot be used: see !! above")
    return int(not passed)


def _line(finding: Finding) -> str:
    line = f"{finding.status.value}  {finding.what:<14}{finding.detail}"
    return f"{line}\n{'':18}-> {finding.fix}" if finding.fix else line


def examine(config: Config, *, tries_network: bool = False) -> Iterator[Finding]:
    """Yield everything that was found, serve's needs first."""
    yield from doctor.check_python()
    yield from doctor.check_opus()
    yield from doctor.check_backends(config.engine.backend)
    checks: tuple[Check, ...] = (_pack, _voices, _watermark, _port)
    for check in checks:
        yield from check(config)
    yield from doctor.check_languages()
    yield from doctor.check_player()
    yield from doctor.check_extras()
    yield from doctor.check_network() if tries_network else doctor.untried_network()


def _pack(config: Config) -> Iterator[Finding]:
    from engine.pack import load_pack

    if config.engine.backend == "fake":
        return
    try:
        folder = configuration.paths(config.engine).chosen_pack(config.engine.pack or None)
        pack = load_pack(folder)
    except SovitsError as error:
        yield Finding(Status.BROKEN, "pack", str(error))
        return
    languages = ", ".join(pack.languages)
    notice = f"; {pack.notice}" if pack.notice else ""
    detail = f"{pack.name}: {pack.family}, {languages}, {pack.num_bytes / 2**20:.0f} MiB{notice}"
    yield Finding(Status.OK, "pack", f"{detail} ({folder})")
    yield from doctor.check_graphs(pack, config.engine.backend)
    yield from doctor.check_memory(pack.num_bytes)


def _voices(config: Config) -> Iterator[Finding]:
    from engine.pack import load_pack
    from engine.voices import VoiceStore, check_pack

    folders = configuration.paths(config.engine)
    listing = VoiceStore(folders.voices_dir).listing()
    usable = dict(listing.records)
    problems: dict[str, SovitsError] = dict(listing.problems)
    if config.engine.backend != "fake":
        try:
            pack = load_pack(folders.chosen_pack(config.engine.pack or None))
        except SovitsError:
            return  # told already
        for name, record in listing.records.items():
            try:
                check_pack(record, pack)
            except SovitsError as error:
                del usable[name]
                problems[name] = error
    if usable:
        yield Finding(Status.OK, "voices", f"{', '.join(usable)} ({folders.voices_dir})")
    else:
        fix = 'sovits-live voice add NAME reference.wav --text "what it says"'
        detail = f"none in {folders.voices_dir}; the pack's own remain"
        yield Finding(Status.MISSING, "voices", detail, fix)
    for name, problem in problems.items():
        yield Finding(Status.MISSING, "voices", f"{name}: {problem}")


def _watermark(config: Config) -> Iterator[Finding]:
    from engine.audio.watermark_key import WatermarkKey

    file = config.server.watermark_key_file
    if file is None:
        return
    try:
        WatermarkKey.read(Path(file).expanduser())
    except SovitsError as error:
        yield Finding(Status.BROKEN, "watermark", f"server.watermark_key_file: {error}")
    else:
        yield Finding(Status.OK, "watermark", f"what is spoken is marked ({file})")


def _port(config: Config) -> Iterator[Finding]:
    host, port = config.server.host, config.server.port
    if port == 0:
        yield Finding(Status.OK, "port", "any free one")
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            fix = "stop what uses it, or choose another: sovits-live serve --port N"
            yield Finding(Status.BROKEN, "port", f"{host}:{port}: {error.strerror}", fix)
        else:
            yield Finding(Status.OK, "port", f"{host}:{port} is free")
