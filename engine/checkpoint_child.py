"""Reads one untrusted PyTorch file in a process of its own and rewrites it as safetensors.

    python checkpoint_child.py SOURCE TARGET MEMORY_BYTES CPU_S

A PyTorch file is a zip of raw storages and one pickle, and a pickle is a program. The unpickler
here knows the few names a checkpoint needs (tensor rebuilding, storages, OrderedDict, a stand-in
for `utils.HParams`), all of them inert objects of this file, and refuses every other name before
anything runs. torch is not needed. The process limits its own memory and time, so that a file made
to exhaust either kills this process only. It imports nothing of the engine: it also runs by path.

Exit status: 0 done (the summary is the safetensors metadata `summary`), 3 refused (one line of JSON
`{"error": ...}` on stdout); anything else is a crash or a limit.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

REFUSED = 3  # exit status
_MAX_DEPTH = 20  # of a config
_MAX_PICKLE_BYTES = 64 << 20
_STORAGES: dict[str, str] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_BARE = "state dict"


class Refused(Exception):
    """The file is damaged, foreign or hostile; the message is for the user."""


class _Inert:
    """Base of what the pickle may touch: no attributes to set, no state to restore."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise Refused("the pickle tries to change a helper object")


class _StorageType(_Inert):
    """Stands for a class such as `torch.HalfStorage`; never called."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class _Dict(dict[Any, Any]):
    """Stands for OrderedDict; drops the attributes torch hangs on it (`_metadata`)."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class HParams:
    """Stands for the training script's `utils.HParams`: a bag of values."""

    __slots__ = ("values",)

    values: Mapping[Any, Any]

    def __new__(cls) -> HParams:
        """Make an empty bag; pickles call no `__init__`, and no `__setstate__` for an empty one."""
        bag = super().__new__(cls)
        bag.values = {}
        return bag

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise Refused(f"the state of utils.HParams is a {type(state).__name__}, not a dict")
        self.values = state


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    num_elements: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view into a storage, not yet read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        raise Refused("the pickle tries to change a tensor")


class _RebuildTensor(_Inert):
    """Stands for `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(self, *args: Any) -> _Tensor:
        if len(args) < 4:
            raise Refused("a tensor with too few arguments")
        storage, offset, shape, strides = args[:4]
        sizes = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in sizes):
            raise Refused("a tensor with a strange shape")
        if len(shape) != len(strides) or len(shape) > 8:
            raise Refused(f"a tensor of shape {shape} with strides {strides}")
        reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
        elements = math.prod(shape)
        if elements and offset + reach > storage.num_elements:
            raise Refused(f"a tensor of shape {shape} reaches past its storage")
        if elements > storage.num_elements:
            raise Refused(f"a tensor of shape {shape} is larger than its storage")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _RebuildParameter(_Inert):
    """Stands for `torch._utils._rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, *args: Any) -> _Tensor:
        if not args or not isinstance(args[0], _Tensor):
            raise Refused("a parameter without a tensor")
        return args[0]


class RestrictedUnpickler(pickle.Unpickler):
    """Admits the names of `ALLOWED`; every other name ends the file's reading."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): _Dict,
        ("utils", "HParams"): HParams,
        ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
        ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
        **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
    }

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for `module.name`.

        Raises:
            Refused: On any name that a checkpoint does not need.
        """
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise Refused(
                f"the file asks for {module}.{name}, which no model needs; nothing of it was run. "
                "Do not load this file with other tools, and get the model from its source"
            ) from None

    def persistent_load(self, pid: Any, /) -> _Storage:
        """Return the storage named by torch's ("storage", type, key, device, size).

        Raises:
            Refused: On anything else.
        """
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise Refused("the pickle holds a persistent id that is not a torch storage")
        _, kind, key, _, size = pid
        if not isinstance(kind, _StorageType) or type(size) is not int or size < 0:
            raise Refused("the pickle holds a malformed storage")
        if not isinstance(key, str) or not re.fullmatch(r"[0-9]{1,9}", key):
            raise Refused(f"the pickle holds a storage with the key {key!r:.60}")
        return _Storage(key, kind.dtype, size)


class _TaggedFile(io.FileIO):
    """A file whose first two bytes read as "PK", whatever they are (upstream's version tag)."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `FileIO.read`."""
        start = self.tell()
        data = super().read(size) or b""
        return b"PK"[start : start + len(data)] + data[2 - start :] if start < 2 else data


class TorchArchive:
    """The zip container of `torch.save`, opened without trusting it.

    Raises:
        Refused: Truncated or damaged container, compressed or overlapping entries.
    """

    def __init__(self, file: io.FileIO, num_bytes: int) -> None:
        self._bytes = num_bytes
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise Refused(f"the file is truncated or damaged ({error})") from None
        entries = self._zip.infolist()
        # torch stores and never compresses; with that, entries can add up to the file at most.
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise Refused(f"entry {entry.filename!r:.80} is compressed; torch.save never is")
        if sum(entry.file_size for entry in entries) > self._bytes:
            raise Refused("its entries overlap: their sizes add up to more than the file")
        pickles = [e.filename for e in entries if e.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise Refused("it is a zip file, but not one that torch.save wrote (no data.pkl)")
        self._root = pickles[0].partition("/")[0]
        self._names = {entry.filename for entry in entries}
        self._budget = 4 * self._bytes + (64 << 20)  # tied weights may be written out twice
        if self._has("byteorder") and self._read("byteorder").strip() != b"little":
            raise Refused("it was saved on a big-endian machine")

    def _has(self, name: str) -> bool:
        return f"{self._root}/{name}" in self._names

    def _read(self, name: str) -> bytes:
        try:
            return self._zip.read(f"{self._root}/{name}")
        except KeyError:
            raise Refused(f"entry {name} is missing: the file is damaged") from None
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise Refused(f"entry {name} is damaged ({error})") from None

    def unpickle(self) -> Any:
        """Return the object tree with tensors left unread.

        Raises:
            Refused: A forbidden name, or a pickle that cannot be read.
        """
        data = self._read("data.pkl")
        if len(data) > _MAX_PICKLE_BYTES:
            raise Refused(f"its pickle has {len(data)} bytes; models have less than a megabyte")
        try:
            return RestrictedUnpickler(io.BytesIO(data)).load()
        except Refused:
            raise
        except MemoryError:
            raise Refused("its pickle asks for more memory than any model needs") from None
        except Exception as error:
            # A malformed pickle can fail in any way; none of them has run anything.
            raise Refused(f"its pickle is malformed ({type(error).__name__}: {error})") from None

    def array(self, tensor: _Tensor) -> NDArray[Any]:
        """Return the values of `tensor`, contiguous; bfloat16 becomes float32.

        Raises:
            Refused: A storage that is missing, damaged or of the wrong size.
        """
        storage = tensor.storage
        dtype = np.dtype("<u2" if storage.dtype == "bfloat16" else storage.dtype)
        self._budget -= math.prod(tensor.shape) * dtype.itemsize
        if self._budget < 0:
            raise Refused("its tensors add up to many times the size of the file")
        data = self._read(f"data/{storage.key}")
        if len(data) != storage.num_elements * dtype.itemsize:
            raise Refused(f"storage {storage.key} has {len(data)} bytes, not what the file says")
        flat = np.frombuffer(data, dtype)[tensor.offset :]
        strides = tuple(step * dtype.itemsize for step in tensor.strides)
        values = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
        if storage.dtype == "bfloat16":
            return (values.astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
        return np.array(values, order="C")


def plain(value: Any, path: str = "config", depth: int = 0) -> Any:
    """Return `value` as JSON values; `HParams` become dicts.

    Raises:
        Refused: A value of another type, or nesting without end.
    """
    if depth > _MAX_DEPTH:
        raise Refused(f"{path[:80]} is nested more than {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, HParams):
        value = value.values
    if isinstance(value, dict):
        return {str(k): plain(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    raise Refused(f"{path[:80]} is a {type(value).__name__}, not a plain value")


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the tensors of a torch file and a summary of the rest.

    The summary has `layout` ("weight" for upstream's {weight, config, info}, else "state dict"),
    `keys` (of the outermost dict), `config`, `info`, `lora_rank`.

    Raises:
        Refused: Whatever is wrong with the file.
    """
    with _TaggedFile(path) as file:
        return _read(TorchArchive(file, path.stat().st_size))


def _read(archive: TorchArchive) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    tree = archive.unpickle()
    if not isinstance(tree, dict):
        raise Refused(f"it holds a {type(tree).__name__}, not a model")
    weight = tree.get("weight")
    is_wrapped = isinstance(weight, dict)
    state = weight if isinstance(weight, dict) else tree
    tensors: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise Refused(f"a tensor's name is a {type(name).__name__}")
        if isinstance(value, _Tensor):
            tensors[name] = array = archive.array(value)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise Refused(f"tensor {name} has NaN or infinite values: the training broke")
    summary = {"layout": "weight" if is_wrapped else _BARE, "keys": [str(k) for k in tree][:20]}
    if is_wrapped:
        for key in ("config", "info", "lora_rank"):
            summary[key] = plain(tree.get(key), key)
    return tensors, summary


def limit_self(memory_bytes: int, cpu_s: int) -> None:
    """Bound this process's address space, CPU time and core size where the system can."""
    try:
        import resource
    except ImportError:  # Windows; the parent's time-out still holds
        return
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (wanted, wanted))


def main(argv: list[str]) -> NoReturn:
    """Convert as the module docstring says."""
    source, target, memory_bytes, cpu_s = argv
    limit_self(int(memory_bytes), int(cpu_s))
    try:
        tensors, summary = read(Path(source))
        save_file(tensors, target, metadata={"summary": json.dumps(summary)})
    except Refused as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.exit(REFUSED)
    except MemoryError:
        sys.stdout.write(json.dumps({"error": "it needs more memory than a model may"}) + "\n")
        sys.exit(REFUSED)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
