"""The page in a real browser: it sounds, shows what sounds, and stops at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.backends.fake import FakeScript
from server.admission import hash_key
from tests.clients.chromium import Page, browse
from tests.clients.web_pages import PROBE, opened, served

pytestmark = pytest.mark.browser
FIRST, SECOND = "Hello there, and welcome.", " Now the second sentence is heard, which is longer."
# 120 ms a letter: there is time to look while it sounds.
LONG = FakeScript(step_s=0.001, tokens_per_phoneme=3)
LOUD = 0.15  # of the tones' 0.3 / sqrt 2
ENTER, ESCAPE, CTRL = 13, 27, 2


async def speak(page: Page, text: str) -> None:
    await page.type("#text", text)
    await page.click("#speak")
    await page.until("sovits.stage.speech?.played > 4800")


def told(page: Page) -> list[str]:
    """Problems the page had, without the answer to its question whether voices can be added."""
    return [problem for problem in page.problems if "v1/voices" not in problem]


async def test_speak_sounds(chromium: str) -> None:
    """The worklet plays the engine's tones, loud, at the pace of a sound card."""
    async with opened(chromium, script=LONG) as page:
        await page.run("sovits.live.prepare()")  # a player, so that its clock can be read
        before: Any = await page.run("sovits.live.player.context.currentTime")
        await speak(page, FIRST)
        await page.run(PROBE)
        # A window of the analyser that is all sound, however late the page looks and however often
        # it ran dry; a page that is too quiet has none by its end.
        heard: Any = await page.until(
            f"(listen().rms > {LOUD} || sovits.stage.speech.isOver) && loudest"
        )
        await page.until("sovits.stage.speech.isOver", 25)
        after: Any = await page.run(
            "[sovits.stage.speech.played, sovits.live.player.context.currentTime]"
        )
        assert await page.run("sovits.live.player.isWorklet")
        assert told(page) == []
    assert LOUD < heard["rms"] < 0.25  # 0.3 / sqrt 2
    assert 180 < heard["hz"] < 2300  # 200 + 2 * token
    rate = after[0] / (after[1] - before)
    assert 10_000 < rate <= 48_000  # on a busy machine it may run dry, but it never runs ahead


async def test_sentences_light_up_in_step_with_the_sound(chromium: str) -> None:
    """The one that sounds is marked from its pts on, and filled as far as it has sounded."""
    async with opened(chromium, script=LONG) as page:
        # Before there is a speech: its first sentence may begin at once.
        await page.run(
            """globalThis.begins = {};
            const attach = sovits.stage.attach;
            sovits.stage.attach = function (speech, ...rest) {
              speech.addEventListener("segment", ({detail}) => (begins[detail.seg] = detail));
              attach.call(this, speech, ...rest);
            };
            globalThis.seen = [];
            globalThis.look = setInterval(() => {
              const now = document.querySelector(".sentence.now");
              const played = sovits.stage.speech?.played;
              const done = now && parseFloat(now.style.getPropertyValue("--done"));
              if (now) seen.push([Number(now.dataset.seg), played, done]);
            }, 10);"""
        )
        await page.type("#text", FIRST + SECOND)
        await page.click("#speak")
        await page.until("document.querySelectorAll('.sentence.past').length > 1", 25)
        await page.until("sovits.stage.speech.isOver", 25)
        seen: Any = await page.run("seen")
        begins: Any = await page.run("begins")
        text = await page.run("document.querySelector('#transcript').textContent")
        past = await page.run("document.querySelectorAll('.sentence.past').length")
        figures: Any = await page.run(
            "[...document.querySelectorAll('#figures dd')].map((dd) => dd.textContent)"
        )
    assert text == FIRST + SECOND and past == len(begins)
    tolerance = 0.15 * 48000  # a report, a timer and the output's latency
    for seg, played, _ in seen:
        assert begins[str(seg)]["pts"] <= played + tolerance
        after = begins.get(str(seg + 1))
        assert after is None or played <= after["pts"] + tolerance
    last = max(seg for seg, _, _ in seen)
    fills = [done for seg, _, done in seen if seg == last]
    assert fills == sorted(fills) and fills[-1] > 80
    first_packet, first_sound, rtf = figures[:3]
    assert first_packet.endswith("ms") and first_sound.endswith("ms") and 0 < float(rtf) < 5
    assert int(first_packet.split()[0]) <= int(first_sound.split()[0])


async def test_stop_is_at_once_and_shows_what_was_heard(chromium: str) -> None:
    """12 ms of fade, then zeros at the loudspeaker; the server's account of it is shown."""
    async with opened(chromium, script=LONG) as page:
        await speak(page, FIRST + SECOND)
        await page.run(PROBE)
        await page.until("probe().rms > 0.05")
        some = await page.run("sovits.live.player.context.currentTime + 0.4")  # a word or two
        await page.until(f"sovits.live.player.context.currentTime > {some}")
        await page.run(
            """document.querySelector("#stop").addEventListener("click", () => {
              const context = sovits.live.player.context;
              const clicked = context.currentTime;
              const look = () => {
                const last = lastSound();
                if (context.currentTime - last > 0.1) globalThis.silent = [last - clicked];
                else setTimeout(look, 2);
              };
              look();
            }, { once: true })"""
        )
        await page.click("#stop")
        silent: Any = await page.until("globalThis.silent")
        await page.until("sovits.stage.speech.isOver")
        await page.until("document.querySelector('#transcript del')")
        heard = await page.run("document.querySelector('.sentence.past').textContent")
        lost = await page.run("document.querySelector('#transcript del').textContent")
        later = await page.run("sovits.live.player.context.currentTime + 0.5")
        await page.until(f"sovits.live.player.context.currentTime > {later}")
        assert await page.run("probe().rms < 1e-4")
        assert await page.run("document.querySelector('#stop').disabled")
        assert (await page.run("document.querySelector('#stopped').textContent")).endswith("ms")
        assert told(page) == []
    # From the click to the last sample that is not zero; a busy machine adds some, and negative is
    # one that had run dry just then. What had arrived and was not heard is seconds.
    assert silent[0] < 0.3
    assert heard + lost == FIRST + SECOND and 0 < len(heard) < len(FIRST + SECOND)


async def test_stop_after_everything_arrived_is_at_once_too(chromium: str) -> None:
    """The server is done and says nothing any more; what was heard is known here."""
    async with opened(chromium, script=LONG) as page:
        await speak(page, FIRST)
        await page.until("sovits.stage.speech.isServed")
        await page.click("#stop")
        await page.until("document.querySelector('#transcript del')")
        heard = await page.run("document.querySelector('.sentence.past').textContent")
        lost = await page.run("document.querySelector('#transcript del').textContent")
        assert await page.run("sovits.stage.speech.isOver")
    assert heard + lost == FIRST and 0 < len(lost)


async def test_speaking_again_replaces_what_sounds(chromium: str) -> None:
    """Only one text is heard."""
    async with opened(chromium, script=LONG) as page:
        await speak(page, FIRST + SECOND)
        await page.run("globalThis.before = sovits.stage.speech")
        await page.type("#text", "Again.")
        await page.key("Enter", code=ENTER, modifiers=CTRL)
        await page.until("sovits.stage.speech !== before && sovits.stage.speech.played > 0")
        assert await page.run("before.isOver && before.isCancelled")
        await page.until("sovits.stage.speech.isOver")
        assert await page.run("document.querySelector('#transcript').textContent") == "Again."


async def test_it_speaks_while_it_types(chromium: str) -> None:
    """Sound comes before the text is all there; the text arrives a token at a time."""
    async with opened(chromium) as page:
        await page.click("#typing")
        await page.run("document.querySelector('#tokens').value = 8")
        await page.type("#text", FIRST + SECOND)
        await page.click("#speak")
        partial = await page.until(  # what is there at that very moment
            "sovits.stage.speech?.played > 2400 "
            "&& document.querySelector('#transcript').textContent"
        )
        await page.until("sovits.stage.speech.isOver", 25)
        whole = await page.run("document.querySelector('#transcript').textContent")
        underruns = await page.run("document.querySelector('#underruns').textContent")
    assert 0 < len(partial) < len(whole) and whole == FIRST + SECOND
    assert underruns.isdigit()


async def test_keyboard_alone_is_enough(chromium: str) -> None:
    """Ctrl+Enter in the text speaks, Escape stops; everything has a name and a visible focus."""
    async with opened(chromium, script=LONG) as page:
        await page.type("#text", FIRST + SECOND)
        await page.key("Enter", code=ENTER, modifiers=CTRL)
        await page.until("sovits.stage.speech?.played > 4800")
        await page.key("Escape", code=ESCAPE)
        await page.until("sovits.stage.speech.isOver")
        nameless: Any = await page.run(
            """[...document.querySelectorAll("button, input, select, textarea, canvas")]
              .filter((element) => !(element.labels?.length && element.labels[0].textContent.trim())
                && !element.getAttribute("aria-label") && !element.textContent.trim())
              .map((element) => element.id)"""
        )
    assert nameless == []


async def test_both_languages_are_whole(chromium: str) -> None:
    """The switch turns every string; no name of a string is left showing."""
    async with opened(chromium) as page:
        english = await page.run("document.body.innerText")
        await page.click("#language")
        chinese = await page.run("document.body.innerText")
        lang = await page.run("document.documentElement.lang")
        same: Any = await page.run(
            """import("/web/i18n.js").then(({ t, setLanguage }) => {
              const names = [...document.querySelectorAll("*")].flatMap((element) =>
                Object.entries(element.dataset).filter(([key]) => key.startsWith("i18n"))
                  .map(([, name]) => name));
              const all = (code) => (setLanguage(code), names.map((name) => t(name)));
              const [en, zh] = [all("en"), all("zh")];
              return names.filter((name, i) => en[i] === zh[i] || en[i] === name);
            })"""
        )
    assert "Speak" in english and "朗读" in chinese and "Speak" not in chinese
    assert lang == "zh-CN" and same == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_has_room_for_everything(chromium: str, scheme: str) -> None:
    """At 360 px nothing sticks out, and text stands out from its ground by 4.5 to 1."""
    async with opened(chromium) as page:
        await page.prefer(scheme)
        await page.resize(360, 740, is_mobile=True)
        for code in ("en", "zh"):
            await page.run(f'import("/web/i18n.js").then((m) => m.setLanguage("{code}"))')
            widths: Any = await page.run(
                """[document.documentElement.scrollWidth,
                  ...[...document.querySelectorAll("main *")].filter((e) => e.offsetParent)
                    .map((e) => Math.ceil(e.getBoundingClientRect().right))]"""
            )
            assert max(widths) <= 360
        ratios: Any = await page.run(
            """(() => {
              const light = (colour) => {
                const [r, g, b] = colour.match(/[0-9.]+/g).map((x) => {
                  const c = x / 255;
                  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (selector) => {
                const element = document.querySelector(selector);
                let ground = element;
                while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)")
                  ground = ground.parentElement;
                const a = light(getComputedStyle(element).color);
                const b = light(getComputedStyle(ground).backgroundColor);
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
              };
              const names = ["#speak", "#text", "label", "#status", "#figures dt", "#sample"];
              return Object.fromEntries(names.map((name) => [name, ratio(name)]));
            })()"""
        )
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


async def test_a_server_with_keys_is_asked_with_one(chromium: str, tmp_path: Path) -> None:
    """The page says what is missing, takes the key, keeps it for this tab only."""
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hash_key('sesame')}\n")
    async with served(f"server.keys_file={keys}") as live, browse(chromium) as page:
        await page.open(live.http)
        await page.until("document.querySelector('#connection').open")
        assert "API key" in await page.run("document.querySelector('#status').textContent")
        await page.type("#key", "sesame")
        await page.key("Tab", code=9)
        await page.until("sovits.live.isConnected")
        await page.until("document.querySelector('#voice').options.length === 2")
        await speak(page, FIRST)
        assert await page.run("localStorage.getItem('sovits.key')") is None
        assert "sesame" not in await page.run("location.href")


async def test_a_lost_session_comes_back(chromium: str) -> None:
    """Without a reload, and the next text is spoken."""
    async with opened(chromium) as page:
        lost = await page.run("sovits.live.ready.session_id")
        await page.run("sovits.live.close()")
        await page.until(f"sovits.live.isConnected && sovits.live.ready.session_id !== '{lost}'")
        await speak(page, FIRST)


async def test_adding_a_voice_is_offered_where_it_can_be(chromium: str) -> None:
    """It is shown if and only if the server says it takes POST /v1/voices."""
    async with opened(chromium) as page:
        allowed = await page.run(
            "fetch('/v1/voices', {method: 'OPTIONS'}).then((r) => r.headers.get('Allow') ?? '')"
        )
        await page.until("document.querySelector('#voice').options.length")
        assert await page.run("document.querySelector('#add-voice').hidden") is (
            "POST" not in allowed
        )


async def test_a_dropped_recording_is_sent_as_the_server_reads_it(chromium: str) -> None:
    """The file, a name made from its own, language, transcript, consent; then it is chosen."""
    async with opened(chromium) as page:
        await page.run(
            """(() => {
              const real = fetch;
              globalThis.fetch = async (url, options = {}) => {
                if (options.method === "POST") {
                  globalThis.posted = [url, [...options.body.entries()]
                    .map(([name, value]) => [name, value.name ?? value])];
                  return new Response(JSON.stringify({voice: "x", warnings: ["It is noisy."]}),
                    {status: 201});
                }
                return real(url, options);
              };
              document.querySelector("#add-voice").hidden = false;
            })()"""
        )
        await page.run(
            """import("/web/voice-form.js").then(async ({ offerVoiceForm }) => {
              const real = fetch;
              const allow = {headers: {Allow: "GET,POST"}};
              globalThis.fetch = async (url, options = {}) =>
                options.method === "OPTIONS" ? new Response("", allow) : real(url, options);
              const $ = (id) => document.getElementById(id);
              await offerVoiceForm({
                elements: {
                  section: $("add-voice"), form: $("voice-form"), drop: $("drop"),
                  file: $("voice-file"), fileName: $("voice-file-name"), name: $("voice-name"),
                  language: $("voice-lang"), transcript: $("voice-transcript"),
                  consent: $("voice-consent"), status: $("voice-status"),
                },
                token: () => "",
                onAdded: (name) => (globalThis.added = name),
              });
              const files = new DataTransfer();
              files.items.add(new File([new Uint8Array(100)], "_My Voice 2.wav",
                {type: "audio/wav"}));
              dispatchEvent(new DragEvent("drop", {dataTransfer: files, cancelable: true}));
            })"""
        )
        assert await page.run("document.querySelector('#add-voice').open")
        await page.type("#voice-transcript", "What was said.")
        await page.type("#voice-consent", "The speaker, today.")
        await page.click("#voice-form [type=submit]")
        await page.until("globalThis.added")
        status = await page.until("document.querySelector('#voice-status').textContent")
        url, fields = await page.run("posted")
    assert url == "v1/voices"
    assert dict(fields) == {
        "name": "my-voice-2",
        "lang": "zh",
        "text": "What was said.",
        "consent": "The speaker, today.",
        "audio": "_My Voice 2.wav",
    }
    assert "my-voice-2" in status and "It is noisy." in status


async def test_the_overlay_shows_only_what_is_said(chromium: str) -> None:
    """As OBS tells its browser sources: by events of the window; on a transparent page."""
    async with opened(chromium, "/?overlay=1&voice=fake", script=LONG) as page:
        detail = json.dumps({"text": FIRST + SECOND})
        await page.run(f"dispatchEvent(new CustomEvent('sovits.say', {{detail: {detail}}}))")
        # Together: the next sentence may be shown by the next question.
        shown, visible = await page.until(
            """sovits.stage.openness > 0.2 && document.querySelector(".sentence.now")
              && [document.querySelector(".sentence.now").textContent,
                document.body.innerText.trim()]"""
        )
        ground = await page.run("getComputedStyle(document.documentElement).backgroundColor")
        await page.run("dispatchEvent(new CustomEvent('sovits.stop'))")
        await page.until("sovits.stage.speech.isOver")
        await page.until("document.body.innerText.trim() === ''")
    assert FIRST.startswith(shown) and visible == shown
    assert ground == "rgba(0, 0, 0, 0)"
