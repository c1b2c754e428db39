"""Engines on disk, built once for a graph, a version, a profile and a GPU.

Two builds of one graph differ in their bytes, so an engine is known by what went in. What went in
is known without making it, so a start that finds its engines converts no graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.backends.tensorrt_build import BuildRequest, load_flavour
from engine.errors import CheckpointError

logger = logging.getLogger(__name__)
BUILD_TIMEOUT_S = 1800.0  # full-size graphs took 4 to 21 s; a GRU of varying length never ended
_PROGRESS_S = 5.0


class EngineCache:
    """Engines in a folder; each is built when it is first asked for."""

    def __init__(
        self,
        folder: Path,
        *,
        flavour: str,
        device: str = "any",
        capabilities: tuple[str, ...] = (),
        timeout_s: float = BUILD_TIMEOUT_S,
    ) -> None:
        """Open the cache; nothing is built yet.

        Args:
            device: What an engine is good for: name and compute capability of the GPU, or "any".

        Raises:
            BackendUnavailable: The flavour is not installed.
        """
        self._folder = folder.absolute()  # the compiler runs in a directory of its own
        self._flavour = flavour
        self._version = str(load_flavour(flavour).__version__)
        self._device = device
        self._capabilities = capabilities
        self._timeout_s = timeout_s

    def engine(
        self,
        graph: str,
        source: str,
        profiles: BuildProfiles,
        write: Callable[[Path], object],
        *,
        on_progress: Callable[[float], None] = lambda seconds: None,
    ) -> Path:
        """Return the engine of a graph, building it if it is not there.

        Args:
            graph: Its name; graphs that are to be kept side by side have different ones.
            source: Identity of its ONNX file.
            write: Writes that file; called only when it is to be compiled.
            on_progress: Told every few seconds how long the build has been running.

        Raises:
            CheckpointError: TensorRT refuses the graph, or took too long.
        """
        target = self.path(graph, source, profiles)
        if target.is_file():
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".build-") as name:
            onnx, unfinished = Path(name) / f"{graph}.onnx", Path(name) / target.name
            write(onnx)
            request = BuildRequest(
                self._flavour, str(onnx), str(unfinished), profiles, self._capabilities
            )
            file = Path(name) / "request.json"
            file.write_text(request.to_json(), encoding="utf-8")
            self._build(file, graph, on_progress)
            unfinished.rename(target)
        logger.info("built %s in %.0f s", target.name, time.monotonic() - started)
        self._remove_superseded(target)
        return target

    def path(self, graph: str, source: str, profiles: BuildProfiles) -> Path:
        """Return where an engine is, or will be: GRAPH-USE-ORIGIN.engine.

        Use is what it is good for: flavour, device and shapes. Origin is what may be replaced by
        something newer: the graph's file and the version of TensorRT.
        """
        use = _digest([self._flavour, self._device, self._capabilities, profiles])
        origin = _digest([source, self._version])
        return self._folder / f"{graph}-{use}-{origin}.engine"

    def _remove_superseded(self, target: Path) -> None:
        """Remove the engines of the same use and another origin.

        Servers with other slots, another GPU or another flavour have another use, so theirs stay.
        One that runs with what is removed here has read it to the end and does not miss it.
        """
        graph_and_use, _, _ = target.name.rpartition("-")
        for path in self._folder.glob(f"{graph_and_use}-*.engine"):
            if path != target:
                path.unlink(missing_ok=True)
                logger.info("removed %s: %s takes its place", path.name, target.name)

    def _build(self, request: Path, graph: str, on_progress: Callable[[float], None]) -> None:
        """Build in a child: a compiler that hangs or dies takes nothing with it."""
        command = [sys.executable, "-m", "engine.backends.tensorrt_build", str(request)]
        root = Path(__file__).parents[2]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root
        )
        started = time.monotonic()
        while True:
            try:
                said, _ = child.communicate(timeout=min(_PROGRESS_S, self._timeout_s))
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                if seconds >= self._timeout_s:
                    child.kill()
                    child.communicate()
                    raise CheckpointError(
                        f"building the {self._flavour} engine of {graph} took over "
                        f"{self._timeout_s:.0f} s and was stopped"
                    ) from None
                on_progress(seconds)
        if child.returncode != 0:
            lines = said.strip().splitlines() or [f"the compiler died ({child.returncode})"]
            raise CheckpointError(f"no {self._flavour} engine of {graph}: {lines[-1]}")


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


BuildProfiles = tuple[dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]], ...]
