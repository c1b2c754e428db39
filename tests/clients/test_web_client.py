"""The JavaScript client's parts in a real browser: mixing, decoding, the session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clients.events import AudioPacket, ContextDone, ContextStarted
from clients.save import SampleStream
from clients.stream_client import StreamClient
from server import frames
from tests.clients.chromium import browse
from tests.clients.web_pages import imported, opened, samples_of, served

pytestmark = pytest.mark.browser
TEXT = "Hello there, and welcome. This is a test of what is heard."


async def test_mixer_waits_plays_and_cuts_to_the_total(chromium: str) -> None:
    """80 ms are buffered first, samples come out unchanged, and not one more than the total."""
    async with opened(chromium) as page:
        result: Any = await imported(
            page,
            """
            const reports = [];
            const mixer = new Mixer((report) => reports.push(structuredClone(report)));
            const heard = [];
            const render = () => {
              const block = new Float32Array(128);
              mixer.render(block);
              heard.push(...block);
            };
            const ramp = (from, count) => Float32Array.from({length: count}, (_, i) => from + i);
            mixer.receive({type: "push", id: "a", samples: ramp(1, 3839)});
            render();
            const early = heard.some((x) => x !== 0);
            mixer.receive({type: "push", id: "a", samples: ramp(3840, 2000)});
            mixer.receive({type: "end", id: "a", total: 5000});
            for (let i = 0; i < 60; i++) render();
            return {early, heard: encode(Float32Array.from(heard)), last: reports.at(-1)};
            """,
        )
    heard = samples_of(result["heard"])[128:]
    assert not result["early"]
    np.testing.assert_array_equal(heard[:5000], np.arange(1, 5001, dtype=np.float32))
    assert np.all(np.diff(heard[5000:]) <= 0) and heard[-1] < 5000 * 0.02  # it decays, no click
    assert result["last"]["streams"][0]["state"] == "over"
    assert result["last"]["streams"][0]["played"] == 5000


async def test_mixer_tells_underruns_from_pauses(chromium: str) -> None:
    """Each underrun adds 20 ms of buffer; running dry after the last finished sentence does not."""
    async with opened(chromium) as page:
        result: Any = await imported(
            page,
            """
            let last;
            const mixer = new Mixer((report) => (last = structuredClone(report)));
            const play = (count) => {
              for (let i = 0; i < count; i++) mixer.render(new Float32Array(128));
              return {underruns: last.streams[0].underruns, prebuffer: last.prebuffer};
            };
            const push = (id, count) =>
              mixer.receive({type: "push", id, samples: new Float32Array(count).fill(0.5)});
            push("a", 4800);
            mixer.receive({type: "expect", id: "a", until: 4800});
            const pause = play(60);
            push("a", 9600);
            mixer.receive({type: "expect", id: "a", until: 48000});
            const underrun = play(120);
            push("a", 4700);  // less than the buffer is now
            const waits = play(30);
            return {pause, underrun, waits, buffered: last.streams[0].buffered};
            """,
        )
    assert result["pause"] == {"underruns": 0, "prebuffer": 3840}
    assert result["underrun"] == {"underruns": 1, "prebuffer": 4800}
    assert result["waits"]["underruns"] == 1 and result["buffered"] == 4700


async def test_mixer_fades_out_in_12_ms(chromium: str) -> None:
    """After a stop the sound falls to nothing within 576 samples and the rest is dropped."""
    async with opened(chromium) as page:
        encoded = await imported(
            page,
            """
            const mixer = new Mixer(() => {});
            const heard = [];
            const render = () => {
              const block = new Float32Array(128);
              mixer.render(block);
              heard.push(...block);
            };
            mixer.receive({type: "push", id: "a", samples: new Float32Array(48000).fill(1)});
            render();
            mixer.receive({type: "stop", id: "a"});
            for (let i = 0; i < 10; i++) render();
            return encode(Float32Array.from(heard));
            """,
        )
    heard = samples_of(encoded)
    assert np.all(heard[:129] == 1) and np.all(np.diff(heard[128:]) <= 0)
    assert heard[128 + 288] == pytest.approx(0.5) and np.all(heard[128 + 576 :] < 0.002)


async def test_frames_of_the_server_are_read(chromium: str) -> None:
    """Single and batched messages, as the server's own encoder writes them."""
    packets = [frames.AudioPacket(bytes([n] * n), 7 + n, 960 * n, 960, 3) for n in (1, 2, 3)]
    single, batch = frames.pack(packets[0], 9).hex(), frames.pack_batch(packets, 9).hex()
    async with opened(chromium) as page:
        parsed: Any = await imported(
            page,
            f"""
            const read = (hex) => {{
              const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
              const frame = parseFrame(bytes.buffer);
              return {{...frame, payloads: frame.payloads.map((payload) => [...payload])}};
            }};
            return [read("{single}"), read("{batch}")];
            """,
        )
        with pytest.raises(Exception, match="no h16 frame"):
            await imported(page, "return parseFrame(new ArrayBuffer(3));")
    first, all_three = parsed
    assert first["payloads"] == [[1]] and (first["alias"], first["seq"], first["seg"]) == (9, 8, 3)
    assert all_three["payloads"] == [[1], [2, 2], [3, 3, 3]] and all_three["duration"] == 2880


async def test_pcm_of_any_rate_is_resampled(chromium: str) -> None:
    """A 24 kHz tone in packets comes out as the same tone at 48 kHz, without steps at the joins."""
    async with opened(chromium) as page:
        encoded = await imported(
            page,
            """
            const upsampler = new Upsampler(24000);
            const out = [];
            for (let at = 0; at < 24000; at += 480) {
              const packet = Float32Array.from({length: 480},
                (_, i) => Math.sin((2 * Math.PI * 1000 * (at + i)) / 24000));
              out.push(...upsampler.process(packet));
            }
            return encode(Float32Array.from(out));
            """,
        )
    tone = samples_of(encoded)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(tone)) / 48000)
    assert len(tone) > 47900
    assert np.abs(tone - expected)[200:].max() < 0.01


async def heard_in_page(page: Any, decoder: str, audio: str) -> tuple[np.ndarray, dict[str, Any]]:
    result: Any = await imported(
        page,
        f"""
        const live = new SovitsLive({{ url: location.origin, decoder: "{decoder}" }});
        const speech = await live.open({{ seed: 5, lead_ms: 0, format: {audio} }});
        const parts = [];
        let done;
        speech.addEventListener("samples", (event) => parts.push(event.detail.slice()));
        speech.addEventListener("done", (event) => (done = event.detail));
        speech.send("{TEXT}");
        speech.end();
        const over = await speech.over;
        const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
        let at = 0;
        for (const part of parts) {{ all.set(part, at); at += part.length; }}
        live.close();
        return {{ samples: encode(all), done, over }};
        """,
    )
    return samples_of(result["samples"]), result


@pytest.mark.parametrize("decoder", ["webcodecs", "wasm"])
async def test_opus_sounds_as_the_python_client_hears_it(decoder: str, chromium: str) -> None:
    """Same text, same seed: the samples agree with libopus, and what is played is the total."""
    async with served("audio.voice=fake") as live:
        async with StreamClient(live.http) as client:
            audio = {"codec": "opus", "rate": 48000}
            context = await client.open(seed=5, lead_ms=0, format=audio)
            await context.send_text(TEXT)
            await context.end()
            events = [event async for event in context]
        started = next(event for event in events if isinstance(event, ContextStarted))
        stream = SampleStream(started)
        data = b"".join(stream.add(event) for event in events if isinstance(event, AudioPacket))
        done = events[-1]
        assert isinstance(done, ContextDone)
        data += stream.finish(done.total_samples48)
        async with browse(chromium) as page:
            await page.open(live.http + "/web/mixer.js")  # its origin is enough
            heard, result = await heard_in_page(page, decoder, '{codec: "opus", rate: 48000}')
    expected = np.frombuffer(data, np.int16) / 32768
    assert result["done"]["total_samples48"] == len(expected) == result["over"]["played"]
    assert len(heard) >= len(expected)
    assert np.abs(heard[: len(expected)] - expected).max() < 2e-3


async def test_pcm_is_played_whole(chromium: str) -> None:
    """The fallback without Opus."""
    async with served("audio.voice=fake") as live, browse(chromium) as page:
        await page.open(live.http + "/web/mixer.js")
        heard, result = await heard_in_page(page, "auto", '{codec: "pcm_s16le", rate: 24000}')
    assert result["over"]["played"] == result["done"]["total_samples48"]
    assert np.sqrt(np.mean(heard**2)) > 0.1


async def test_typing_cuts_tokens_that_join_to_the_text(chromium: str) -> None:
    """Chinese by one or two characters, Latin by up to five letters, nothing lost."""
    text = "大家好，welcome to 直播间！価格は😀9.9元\n好"
    async with opened(chromium) as page:
        tokens: Any = await imported(page, f"return tokensOf({text!r});")
    assert "".join(tokens) == text
    assert tokens[0] == "大家" and max(map(len, tokens)) <= 6 and len(tokens) > 10


async def test_long_text_is_sent_as_the_server_can_take_it(chromium: str) -> None:
    """Far more than one context buffers is spoken without an error."""
    async with served("audio.voice=fake", "server.limits.max_buffer_chars=400") as live:
        async with browse(chromium) as page:
            await page.open(live.http + "/web/mixer.js")
            result: Any = await imported(
                page,
                """
                const live = new SovitsLive({ url: location.origin });
                const speech = await live.open({ lead_ms: 0, speed: 2 });
                const problems = [], texts = [];
                speech.addEventListener("failed", (event) => problems.push(event.detail.code));
                speech.addEventListener("segment", (event) => texts.push(event.detail.text));
                speech.send("One more, please. ".repeat(40));
                speech.end();
                await new Promise((resolve) => speech.addEventListener("done", resolve));
                speech.cancel();
                return { problems, text: texts.join("") };
                """,
            )
    assert result["problems"] == []
    assert result["text"].rstrip() == ("One more, please. " * 40).rstrip()


async def test_addresses_of_servers(chromium: str) -> None:
    """A page's own, a bare origin, one behind a prefix, and one already complete."""
    given = [
        "https://example.org/?overlay=1#x",
        "http://127.0.0.1:8080",
        "https://example.org/speech/index.html",
        "ws://127.0.0.1:8080/v1/tts/ws",
    ]
    async with opened(chromium) as page:
        urls = await imported(page, f"return {given}.map((url) => socketUrl(url));")
    assert urls == [
        "wss://example.org/v1/tts/ws",
        "ws://127.0.0.1:8080/v1/tts/ws",
        "wss://example.org/speech/v1/tts/ws",
        "ws://127.0.0.1:8080/v1/tts/ws",
    ]
