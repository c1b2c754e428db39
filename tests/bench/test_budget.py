"""What a second of speech costs in counts, which no busy machine can blur, against a fixed budget.

The budget is bench/budget.json. A change that needs more raises a number there, in the open.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import bench.texts
from engine.backends.fake import FakeAcoustic, FakeScript, FakeSemantic
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from engine.types import FRAMES_PER_TOKEN, TOKEN_HZ, AudioChunk, FloatArray, IntArray
from server.delivery import Delivery
from server.encoder import AudioEncoder
from server.frames import AudioPacket, pack, pack_batch
from server.pacing import Pacer
from tests.bench.scripted import speech
from tests.engine.jobs import collect, make_job

BUDGET: dict[str, float] = json.loads(
    (Path(bench.texts.__file__).parent / "budget.json").read_text()
)
TOLERANCE = 1.02
MEMORY_TOLERANCE = 1.1  # what measures coverage keeps some too


def within(name: str, value: float, tolerance: float = TOLERANCE) -> None:
    """Check one count; far below is as wrong as above: then the budget says nothing."""
    assert value <= BUDGET[name] * tolerance, f"{name} is {value:.4f}, budget {BUDGET[name]}"
    assert value >= BUDGET[name] * 0.8, f"{name} is {value:.4f}: lower its budget to that"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the decoder's rows, the frames the acoustic decoder is given and all network calls."""
    found: Counter[str] = Counter()
    decode, decoder = FakeSemantic.decode, FakeAcoustic.decoder

    def counted(name: str) -> Callable[..., Any]:
        network = getattr(FakeAcoustic, name)

        def call(self: FakeAcoustic, *args: Any) -> Any:
            found["networks"] += 1
            if name == "prior" and not found["first_tokens"]:
                found["first_tokens"] = len(args[0])
            return network(self, *args)

        return call

    for name in ("encode_text", "prior", "flow"):
        monkeypatch.setattr(FakeAcoustic, name, counted(name))

    def counted_decode(self: FakeSemantic, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        found["steps"] += len(slots)
        return decode(self, slots, tokens)

    def counted_decoder(
        self: FakeAcoustic, latent: FloatArray, style: FloatArray, *context: int
    ) -> FloatArray:
        found["frames"] += latent.shape[1]
        found["first_frames"] = found["first_frames"] or latent.shape[1]
        found["networks"] += 1
        return decoder(self, latent, style, *context)

    monkeypatch.setattr(FakeSemantic, "decode", counted_decode)
    monkeypatch.setattr(FakeAcoustic, "decoder", counted_decoder)
    yield found


async def test_the_engine_does_each_token_once_and_few_frames_twice(counts: Counter[str]) -> None:
    """One sentence of 132 tokens, four for each phoneme of the text and the prompt, alone."""
    engine = ThreadEngine(EngineConfig(backend="fake", fake=FakeScript(tokens_per_phoneme=4)))
    await engine.start()
    counts.clear()
    async with engine.synthesize(make_job(*range(20, 50))) as stream:
        chunks: list[AudioChunk] = await collect(stream)
    rate_hz = chunks[0].sample_rate_hz
    await engine.close()
    audio_s = sum(len(chunk.samples) for chunk in chunks) / rate_hz
    tokens = audio_s * TOKEN_HZ
    assert tokens == pytest.approx(132)
    within("decode_steps_per_token", counts["steps"] / tokens)
    within("decoder_frames_per_frame", counts["frames"] / (tokens * FRAMES_PER_TOKEN))
    within("engine_chunks_per_audio_s", len(chunks) / audio_s)
    within("network_calls_per_chunk", counts["networks"] / len(chunks))


async def test_the_first_packet_costs_the_same_for_any_length_of_text(counts: Counter[str]) -> None:
    """It waits for as many tokens and as few frames with 10 phonemes as with 64."""
    engine = ThreadEngine(EngineConfig(backend="fake", fake=FakeScript(tokens_per_phoneme=4)))
    await engine.start()
    firsts = []
    for count in (10, 64):
        counts.clear()
        async with engine.synthesize(make_job(*range(20, 20 + count))) as stream:
            await collect(stream)
        firsts.append((counts["first_tokens"], counts["first_frames"]))
    await engine.close()
    assert firsts[0] == firsts[1] and min(firsts[0]) > 0
    within("tokens_of_the_first_packet", firsts[0][0])


class CountingSink:
    """Takes packets as a socket does."""

    def __init__(self) -> None:
        self.messages = 0
        self.packets = 0
        self.payload = 0
        self.wire = 0

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        data = pack(packets[0], 1) if len(packets) == 1 else pack_batch(packets, 1)
        self.messages += 1
        self.packets += len(packets)
        self.payload += sum(len(packet.payload) for packet in packets)
        self.wire += len(data)
        return True


class KeepingSink(CountingSink):
    """Keeps packets, as a queue for a slow reader does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[AudioPacket] = []

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        self.kept += packets
        return super().audio(packets)


def delivery_to(sink: CountingSink) -> Delivery:
    """Return a delivery of 24 kHz PCM that waits for nobody."""
    delivery = Delivery(
        sink,  # type: ignore[arg-type]
        AudioEncoder("pcm_s16le", source_hz=24000, rate_hz=24000),
        Pacer(0.0),
        clock=lambda: 0.0,
        executor=None,
        may_batch=True,
        on_sent=lambda: None,
    )
    delivery.begin(0)
    return delivery


async def test_delivery_needs_few_messages_bytes_and_calls() -> None:
    """Five seconds of PCM made at once, by packets of 20 ms."""
    sink = CountingSink()
    delivery = delivery_to(sink)
    chunks = np.array_split(speech(5.0), 10)
    await delivery.feed(chunks[0])  # imports and first-call work are no packet's
    before, calls = sink.packets, 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for chunk in chunks[1:]:
            await delivery.feed(chunk)
    finally:
        sys.setprofile(None)
    per_packet = calls / (sink.packets - before)
    await delivery.finish()
    within("messages_per_audio_s", sink.messages / 5.0)
    within("wire_bytes_per_payload_byte", sink.wire / sink.payload)
    within("python_calls_per_packet", per_packet)


async def test_a_packet_is_few_allocations() -> None:
    """What a packet that waits to be read holds, in blocks of the allocator."""
    sink = KeepingSink()
    delivery = delivery_to(sink)
    chunks = np.array_split(speech(5.0), 10)
    await delivery.feed(chunks[0])
    gc.collect()
    packets, blocks = len(sink.kept), sys.getallocatedblocks()
    for chunk in chunks[1:]:
        await delivery.feed(chunk)
    gc.collect()
    held = sys.getallocatedblocks() - blocks
    held_each = held / (len(sink.kept) - packets)
    within("allocations_per_packet", held_each, MEMORY_TOLERANCE)


async def test_audio_is_copied_few_times_on_its_way() -> None:
    """Bytes there are at once at most while half a second is delivered, per byte of its payload."""
    sink = CountingSink()
    delivery = delivery_to(sink)
    first, second = np.array_split(speech(1.0), 2)
    await delivery.feed(first)
    sent = sink.payload
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await delivery.feed(second)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    copies = (peak - before) / (sink.payload - sent)
    within("peak_bytes_per_payload_byte", copies, MEMORY_TOLERANCE)
