"""Start the server: native WebSocket and HTTP on one port.

Configuration comes from one TOML file (--config), SOVITS_* variables and --set, later ones win:

    sovits-live serve --port 8080 --set audio.format.rate=48000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from engine.client import EngineClient, EngineInfo
from engine.errors import SovitsError
from engine.types import Language
from server import config as configuration
from server import logs
from server.app import make_runner
from server.config import Config, EngineSection, TextSection
from server.errors import ConfigError
from server.runtime import Parts, Runtime
from server.services import FrontendPool
from server.voice_watch import watch_voices

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_FAILED, EXIT_ARGUMENTS = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--config", type=Path, help="TOML file")
    parser.add_argument("--host", help="address to listen on (server.host)")
    parser.add_argument("--port", help="port to listen on, 0 for any free one (server.port)")
    parser.add_argument("--pack", help="model pack: a name or a folder (engine.pack)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any configuration key; a wrong one is answered with its neighbours and all there are",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes; return the exit status."""
    try:
        config = configuration.load(args.config, settings=[*_short_forms(args), *args.set])
        logs.set_up(config.log.level, config.log.format)
        return run_on_best_loop(serve(config))
    except ConfigError as error:
        return _complain(str(error), EXIT_ARGUMENTS)
    except (SovitsError, OSError) as error:
        return _complain(str(error), EXIT_FAILED)


def _short_forms(args: argparse.Namespace) -> list[str]:
    given = {"server.host": args.host, "server.port": args.port, "engine.pack": args.pack}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _complain(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def run_on_best_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it exists (not on Windows); return what `main` returns."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def serve(config: Config, parts: Parts | None = None) -> int:
    """Listen, load, serve, drain; return the exit status.

    Args:
        parts: What to serve with; None: what the configuration names.

    Raises:
        ConfigError: A file the configuration names cannot be used.
        SovitsError: The engine cannot start.
        OSError: The port cannot be had.
    """
    logger.debug("configuration", extra={"config": configuration.dump(config)})
    logger.info(
        "starting, Ctrl-C stops",
        extra={"pack": config.engine.pack or "the default", "backend": config.engine.backend},
    )
    stop, stop_now = _stop_signals()
    runtime = Runtime(config, parts or build_parts(config))
    tls = _tls(config)
    runner = make_runner(runtime)
    await runner.setup()
    watcher: asyncio.Task[None] | None = None
    try:
        await _listen(runner, config, tls)
        port = runner.addresses[0][1]
        started = asyncio.create_task(runtime.wait_started(), name="wait-started")
        if await _first(started, stop):
            started.result()
            _settle_memory()
            folder = configuration.paths(config.engine).voices_dir
            watching = watch_voices(folder, runtime.engine.reload_voices)
            watcher = asyncio.create_task(watching, name="watch-voices")
            print(banner(config, runtime, port, is_tls=tls is not None), flush=True)
            await stop.wait()
            logger.info("stopping: what is being spoken may finish; once more stops at once")
            drained = asyncio.create_task(runtime.drain(), name="drain")
            if not await _first(drained, stop_now):
                drained.cancel()
                await runtime.hang_up()
        started.cancel()
        await asyncio.gather(started, return_exceptions=True)
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await runner.cleanup()
    return EXIT_OK


def _settle_memory() -> None:
    """Keep the collector from looking again and again at what was loaded.

    A full collection stops every stream: for 30 ms with what a started server holds, for nothing
    when it is left out.
    """
    gc.collect()
    gc.freeze()


async def _listen(runner: web.AppRunner, config: Config, tls: ssl.SSLContext | None) -> None:
    """Listen where the configuration says.

    Raises:
        OSError: The port cannot be had; says what to do.
    """
    host, port = config.server.host, config.server.port
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {_what_to_do(error)}") from error


def _what_to_do(error: OSError) -> str:
    """Return why there is no listening, and what helps."""
    known = {
        errno.EADDRINUSE: "another program does; stop that one, or choose another with --port",
        errno.EACCES: "ports below 1024 are the system's; choose another with --port",
        errno.EADDRNOTAVAIL: "this machine does not have that address; see --host",
    }
    # asyncio writes its own text into the error of an address that is in use, and keeps the number.
    return known.get(error.errno or 0, f"{error.strerror or error}; see --host and --port")


def _stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return what the first and the second SIGTERM or SIGINT set."""
    stop, stop_now = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (stop_now if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows' loop has no signal handlers: there Ctrl-C ends the process without a drain.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, on_signal)
    return stop, stop_now


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> bool:
    """Wait for a task or an event; return True if the task is done."""
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
    return task.done()


def build_parts(config: Config) -> Parts:
    """Return engine and frontends as configured; nothing starts yet.

    Raises:
        SovitsError: The pack or the backend cannot be used.
    """
    # Dictionaries of a second or two: only a server needs them.
    from engine.text.languages import supported_languages

    def make_frontend(info: EngineInfo) -> FrontendPool:
        return build_frontend(config.text, info, Language(config.audio.lang))

    return Parts(build_engine(config.engine), make_frontend, supported_languages())


def build_engine(section: EngineSection) -> EngineClient:
    """Return the engine, in a process of its own or in this one."""
    engine = configuration.engine_config(section)
    if section.process:
        from engine.process_engine import ProcessEngine

        return ProcessEngine(engine)
    from engine.thread_engine import ThreadEngine

    return ThreadEngine(engine)


def build_frontend(section: TextSection, info: EngineInfo, language: Language) -> FrontendPool:
    """Return the pool that speaks the pack's symbols and begins with `language` loaded."""
    from engine.text import pool

    lexicon = Path(section.lexicon).expanduser() if section.lexicon else None
    g2pw_dir = Path(section.g2pw_dir).expanduser() if section.g2pw_dir else None
    return pool.FrontendPool(
        info.symbol_set,
        section.workers,
        lexicon=lexicon,
        g2pw_dir=g2pw_dir,
        digits=section.digits,
        warm=(language,),
        languages=info.languages,
    )


def _tls(config: Config) -> ssl.SSLContext | None:
    cert, key = config.server.tls_cert, config.server.tls_key
    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(Path(cert).expanduser(), Path(key).expanduser())
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"server.tls_cert {cert} with {key}: {error}") from None
    return context


def banner(config: Config, runtime: Runtime, port: int, *, is_tls: bool) -> str:
    """Return what is printed when the server is ready."""
    host = config.server.host
    shown = f"[{host}]" if ":" in host else host
    info = runtime.engine.info
    voices = ", ".join(list(runtime.engine.voices)[:8]) or "none: sovits-live voice add --help"
    backend = ", ".join(info.backend.values())
    lines = [
        f"sovits-live is ready: http{'s' if is_tls else ''}://{shown}:{port}",
        f"  socket   ws{'s' if is_tls else ''}://{shown}:{port}/v1/tts/ws",
        f"  pack     {info.pack} ({info.family}, {info.sample_rate_hz} Hz; {backend})",
        f"  voices   {voices}",
    ]
    if config.server.watermark_key_file is not None:
        lines.append("  mark     everything spoken carries the watermark of your key")
    if info.notice:
        lines.append(f"  notice   {info.notice}")
    return "\n".join(lines)
