"""SentenceSplitter: nothing lost, the same cuts for any deltas, guards, schedule, timers."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidParameter
from engine.text.splitter import SentenceSplitter, SplitterOptions
from engine.types import Sentence

MS = 0.001
# Pieces no sentence end may fall into. None ends where a cut would be legal.
ATOMS = [
    "19.9", "1,980", "3.14159", "v2.0", "v1.2.3-rc1", "12:30", "50%", "2024/05/06", "192.168.0.1",
    "https://example.com/a.b?c=d,e!f", "http://x.yz:8080/", "mail.me@host.example.org", "A1024",
    "/usr/lib/x.so", "C:\\a.b\\c.txt", "www.example.com", "e.g", "U.S.A", "don't", "example.com",
    "👨‍👩‍👧‍👦", "👍🏽", "🇨🇳🇯🇵", "❤️", "1️⃣", "é", "か゚", "Dr", "Smith", "你好", "今日は", "안녕하세요",
    "ok", '<break time="1.5s"/>', '<say-as interpret-as="date">', "\ufffd",
]  # fmt: skip
GLUE = [
    " ", " ", "，", "。", "！", "？", "……", "...", ". ", ", ", "! ", "? ", "：", "“", "”", "(", ")",
    '"', "「", "」", "\n", "、", "；", " - ", "——", "`", "```", "**", "Mr. ", "No. ", "1. ", "<",
    ">",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(ATOMS + GLUE * 2) | st.text(max_size=3), max_size=60).map("".join)


def split(deltas: list[str], options: SplitterOptions | None = None) -> list[Sentence]:
    splitter = SentenceSplitter(options)
    sentences = [sentence for delta in deltas for sentence in splitter.feed(delta, 0.0)]
    return sentences + splitter.finish()


def texts(text: str, options: SplitterOptions | None = None) -> list[str]:
    return [sentence.text for sentence in split(list(text), options)]


def cut_into(text: str, sizes: list[int]) -> list[str]:
    deltas, at = [], 0
    for size in sizes:
        deltas.append(text[at : at + size])
        at += size
    return [*deltas, text[at:]]


def assert_is_partition(sentences: list[Sentence], text: str) -> None:
    assert "".join(s.text for s in sentences) == text
    assert [s.index for s in sentences] == list(range(len(sentences)))
    assert all(s.text == text[s.start : s.end] for s in sentences)
    assert [s.is_final for s in sentences] == [False] * (len(sentences) - 1) + [True]


class TestNothingLost:
    @given(text=TEXTS, sizes=st.lists(st.integers(0, 9), max_size=40))
    def test_any_deltas_give_the_whole_text_in_order(self, text: str, sizes: list[int]) -> None:
        """Sentences, joined, are the text, whatever deltas it came in."""
        assert_is_partition(split(cut_into(text, sizes)), text)

    @given(text=TEXTS, sizes=st.lists(st.integers(0, 9), max_size=40))
    def test_cuts_do_not_depend_on_the_deltas(self, text: str, sizes: list[int]) -> None:
        """One delta, single characters and random deltas are cut alike when no timer fires."""
        whole = split([text])
        assert split(list(text)) == whole
        assert split(cut_into(text, sizes)) == whole

    @given(
        text=TEXTS,
        steps=st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 130, 260, 450, 1600])), max_size=40
        ),
        leads=st.lists(st.sampled_from([0.0, 1.0, 10.0]), max_size=5),
    )
    def test_timers_flushes_and_leads_lose_nothing(
        self, text: str, steps: list[tuple[int, int]], leads: list[float]
    ) -> None:
        """Whatever the clock, flush and lead do, the text comes out whole and in order."""
        splitter, out, now, at = SentenceSplitter(), [], 0.0, 0
        for i, (size, wait_ms) in enumerate(steps):
            out += splitter.feed(text[at : at + size], now)
            at += size
            now += wait_ms * MS
            out += splitter.poll(now)
            if leads:
                splitter.set_lead(leads[i % len(leads)])
            if i % 7 == 6:
                out += splitter.flush()
        out += splitter.feed(text[at:], now)
        out += splitter.finish()
        assert_is_partition(out, text)

    @given(text=TEXTS)
    def test_polling_at_the_deadline_always_gets_further(self, text: str) -> None:
        """next_deadline never names a moment at which nothing happens for ever."""
        splitter, now = SentenceSplitter(), 0.0
        splitter.feed(text, now)
        for _ in range(200):
            deadline = splitter.next_deadline()
            if deadline is None:
                break
            assert deadline >= now
            now = deadline
            splitter.poll(now)
        assert splitter.next_deadline() is None
        assert not any(ch.isalnum() for ch in "".join(splitter._pending))

    def test_surrogate_halves_in_two_deltas_become_one_character(self) -> None:
        """JSON may split an emoji's surrogate pair between two messages."""
        assert [s.text for s in split(["好\ud83d", "\ude00。"])] == ["好😀。", ""]

    def test_lone_surrogate_becomes_a_replacement_character(self) -> None:
        """Half an emoji at the end cannot be encoded and must not break anything downstream."""
        assert [s.text for s in split(["好\ud83d"])] == ["好\ufffd"]
        assert [s.text for s in split(["好\ude00吗"])] == ["好\ufffd吗"]

    def test_empty_utterance_ends_with_an_empty_final_sentence(self) -> None:
        """The end is always announced."""
        assert split([]) == [Sentence(0, "", 0, 0, is_final=True)]


class TestGuards:
    @settings(max_examples=100)
    @given(
        parts=st.lists(
            st.tuples(
                st.sampled_from(ATOMS), st.sampled_from([" ", "，", "。", "！ ", "\n", " 好"])
            ),
            min_size=1,
            max_size=25,
        ),
        waits_ms=st.lists(st.sampled_from([0, 0, 0, 130, 260]), min_size=1, max_size=9),
    )
    def test_atoms_are_never_cut(self, parts: list[tuple[str, str]], waits_ms: list[int]) -> None:
        """Numbers, versions, URLs, paths, tags and emoji sequences stay whole, short timers too."""
        text, inside = "", set()
        for atom, glue in parts:
            inside |= set(range(len(text) + 1, len(text) + len(atom)))
            inside -= {
                len(text) + i + 1
                for i in range(len(atom) - 1)
                if all("\u3040" < c for c in atom) and not atom[i + 1] == "゚" and atom[0] < "\ufb00"
            }
            text += atom + glue
        splitter, out, now = SentenceSplitter(), [], 0.0
        for i, ch in enumerate(text):
            out += splitter.feed(ch, now)
            now += waits_ms[i % len(waits_ms)] * MS
            out += splitter.poll(now)
        out += splitter.finish()
        assert_is_partition(out, text)
        assert not inside & {s.end for s in out[:-1]}

    @pytest.mark.parametrize(
        "text",
        [
            "Dr. Smith said v2.0 costs $3.50 today",
            "Mr. J. R. Smith lives in the U.S. near St. Paul",
            "Call at 5 p.m. or e.g. later as in No. 5 and fig. 3",
            "1. Open the lid",
            "12. Open the lid",
            "Wait...what is it",
            "他说“你好！我是小明。很高兴”吗",
            "(This. Is! One? thing) here",
            "Use `a.b. c! d` here",
            "see ```\nx = 1. y!\nz? w\n``` there",
            'say <sub alias="a. b! c">x</sub> now',
            "1，000 元",
            "一共1、2、3个",
        ],
    )
    def test_one_sentence_stays_one(self, text: str) -> None:
        """None of these holds a sentence end."""
        assert texts(text) == [text]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("No. I will not do. Really.", ["No.", " I will not do.", " Really."]),
            ("It is 5. Then 6 came.", ["It is 5.", " Then 6 came."]),
            ("So do I. Then we went.", ["So do I.", " Then we went."]),
            ("他说：“你好！”然后他就走了。", ["他说：“你好！”", "然后他就走了。"]),
            ('"Sure!" she said to him.', ['"Sure!"', " she said to him."]),
            ("(Yes.) And then we go.", ["(Yes.)", " And then we go."]),
            ("好的。1. 打开盖子。2. 关上。", ["好的。", "1. 打开盖子。", "2. 关上。"]),
            ("你好.今天天气很好.", ["你好.", "今天天气很好."]),
            ("네. 알겠습니다. 3.5킬로예요.", ["네.", " 알겠습니다.", " 3.5킬로예요."]),
            ("정말요... 그렇군요.", ["정말요.", ".. 그렇군요."]),
            (
                "はい‥そうです。「ええ。」と言った。",
                ["はい‥", "そうです。", "「ええ。」と言った。"],
            ),
            ("佢食咗喇。你呢？", ["佢食咗喇。", "你呢？"]),
            ("Is it v2.0? Yes it is.", ["Is it v2.0?", " Yes it is."]),
            ("嗯……好的我知道了。", ["嗯……", "好的我知道了。"]),
            ("Wait... what is it?", ["Wait...", " what is it?"]),
            ("a < b! c > d is not true!", ["a < b!", " c > d is not true!"]),
            ("Title\n\nThen some text.", ["Title\n", "\nThen some text."]),
            ("Use `a.b`. Then go on.", ["Use `a.b`.", " Then go on."]),
            ("see ```x. y``` now.\nThen go on.", ["see ```x. y``` now.\n", "Then go on."]),
        ],
    )
    def test_sentence_ends_are_found(self, text: str, expected: list[str]) -> None:
        """These are the ends, with quotes and closers kept on the left."""
        assert [t for t in texts(text) if t] == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("今日はキャンセル料が必要になります", "今日はキャンセル料が"),
            ("우리는 오늘아침에일어나서물을", "우리는 "),
            ("我们今天去公园散步吧好不好", "我们今天去公园散步吧好不好"),
        ],
    )
    def test_words_stay_whole_when_a_timer_cuts(self, text: str, expected: str) -> None:
        """Japanese is cut before a phrase, Korean at a blank, Chinese anywhere."""
        splitter = SentenceSplitter()
        assert splitter.feed(text, 0.0) == []
        assert [sentence.text for sentence in splitter.poll(0.3)] == [expected]

    def test_unclosed_quote_guards_only_so_far(self) -> None:
        """A quote that is never closed does not hold the text back past 40 weight."""
        text = "“" + "天" * 10 + "。" + "地" * 12 + "。" + "人" * 10 + "。"
        assert texts(text)[0] == "“" + "天" * 10 + "。" + "地" * 12 + "。"

    def test_repeated_marks_stay_together_after_the_first_sentence(self) -> None:
        """Only the first sentence is released before it is known whether more marks follow."""
        assert texts("好！！！真的是这样吗？！我不相信你。") == [
            "好！",
            "！！真的是这样吗？！",
            "我不相信你。",
        ]


class TestSchedule:
    @pytest.mark.parametrize(
        ("text", "num_chars"),
        [
            ("大家好，欢迎来到直播间。今天这款新品原价29.9元，现在只要19.9元，链接就在下方！", 12),
            ("好的，我明白了。您的订单号是A1024，预计明天下午送到。", 8),
            ("今日は、新しい商品を紹介します。値段は1,980円です。ぜひご覧ください。", 16),
            ("Sure! Dr. Smith said v2.0 costs $3.50 today. Visit https://example.com/a.b now.", 5),
        ],
    )
    def test_first_sentence_is_released_early(self, text: str, num_chars: int) -> None:
        """Characters read before the first release."""
        splitter = SentenceSplitter()
        read = next(i for i, ch in enumerate(text, 1) if splitter.feed(ch, 0.0))
        assert read <= num_chars

    def test_clauses_first_then_whole_sentences(self) -> None:
        """Sentence 0 ends at a clause of 8, sentence 1 at one of 24, later ones are whole."""
        clause = "春夏秋冬又一春，"
        text = clause * 8 + "完。" + clause * 4 + "完。"
        assert (
            texts(text)
            == [
                clause,
                clause * 2,
                clause * 5 + "完。",
                clause * 4 + "完。",
                "",
            ][: len(texts(text))]
        )

    def test_no_sentence_outweighs_the_maximum(self) -> None:
        """Without any mark the text is cut between han; with marks at the last of them."""
        assert [len(t) for t in texts("天" * 150)] == [60, 60, 30]
        parts = texts("你好。" + "春夏秋冬又一春；" * 12, SplitterOptions(schedule=(8,)))
        assert parts == ["你好。", "春夏秋冬又一春；" * 8, "春夏秋冬又一春；" * 4]

    def test_endless_word_is_cut_somewhere(self) -> None:
        """A hostile run without a gap does not grow for ever, and graphemes survive it."""
        parts = texts("e\u0301" * 3000)
        assert len(parts) > 2
        assert all(not part.startswith("\u0301") for part in parts)

    def test_short_sentences_are_joined_after_the_first(self) -> None:
        """Less than 8 weight makes bad speech; the first sentence is exempt for its speed."""
        assert texts("好。是。行。可以的。那么我们走吧。") == [
            "好。",
            "是。行。可以的。",
            "那么我们走吧。",
        ]

    def test_high_lead_merges_sentences(self) -> None:
        """With seconds of audio ahead, sentences are merged up to 60 weight."""
        splitter = SentenceSplitter()
        splitter.set_lead(5.0)
        text = "今天的天气真的很好。" * 12
        out = splitter.feed(text, 0.0) + splitter.finish()
        assert [len(s.text) for s in out] == [10, 40, 40, 30]

    def test_high_lead_cuts_no_clauses(self) -> None:
        """Where a clause of 24 would do, the whole sentence is awaited instead."""
        splitter = SentenceSplitter()
        splitter.feed("你好。", 0.0)
        splitter.set_lead(5.0)
        assert splitter.feed("春夏秋冬又一春，" * 3, 0.0) == []

    def test_merged_sentences_are_released_when_the_lead_runs_low(self) -> None:
        """A finished sentence held for merging is given out as soon as the listener needs it."""
        splitter = SentenceSplitter()
        splitter.set_lead(5.0)
        assert len(splitter.feed("今天的天气真的很好。明天的天气也会很好。后天", 0.0)) == 1
        assert splitter.poll(0.1) == []
        splitter.set_lead(1.0)
        assert [s.text for s in splitter.poll(0.1)] == ["明天的天气也会很好。"]

    def test_starving_listener_gets_clauses_again(self) -> None:
        """Below half a second of lead a long sentence is cut at a clause of 24."""
        clause = "春夏秋冬又一春，"
        for lead_s, expected in ((0.1, 2), (1.0, 1)):
            splitter = SentenceSplitter(SplitterOptions(schedule=(8, 24)))
            splitter.feed("你好。欢迎大家来到这里。", 0.0)
            splitter.set_lead(lead_s)
            out = splitter.feed(clause * 3, 0.0)
            assert len(out) == expected, lead_s

    def test_custom_schedule(self) -> None:
        """The schedule gives the clause weight of each sentence."""
        clause = "春夏秋冬又一春，"
        options = SplitterOptions(schedule=(40, 15, 15))
        assert texts(clause * 6, options) == [clause * 3, clause, clause, clause]

    def test_auto_mode_makes_every_feed_a_sentence(self) -> None:
        """The caller sends phrases; marks inside them do not cut."""
        options = SplitterOptions(auto_mode=True)
        assert [s.text for s in split(["Hi. You! ", " ", "there", "。"], options)] == [
            "Hi. You! ",
            " there",
            "。",
        ]

    @pytest.mark.parametrize(
        ("text", "pauses_ms"),
        [("大家都好啊，你好。", [150, 0]), ("你好。欢迎。", [300, 0]), ("真的吗？好", [320, 0])],
    )
    def test_pause_follows_the_mark(self, text: str, pauses_ms: list[int]) -> None:
        """A clause pauses 120-180 ms, a sentence 280-350 ms, the end not at all."""
        assert [s.pause_ms for s in split([text])] == pauses_ms

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"max_weight": 5}, "chunking.max_weight"),
            ({"schedule": (0,)}, "chunking.schedule"),
            ({"idle_flush_ms": -1}, "chunking.idle_flush_ms"),
        ],
    )
    def test_bad_options_are_refused_by_name(self, changes: dict[str, object], field: str) -> None:
        """The error names the field."""
        with pytest.raises(InvalidParameter) as caught:
            SplitterOptions(**changes)  # type: ignore[arg-type]
        assert caught.value.field == field


class TestTimers:
    def test_first_sentence_is_cut_after_an_idle_moment(self) -> None:
        """Weight 12 without punctuation is enough once nothing came for 120 ms."""
        splitter = SentenceSplitter()
        assert splitter.feed("今天天气真不错", 0.0) == []
        assert splitter.next_deadline() == pytest.approx(0.120)
        assert splitter.poll(0.119) == []
        assert [s.text for s in splitter.poll(0.120)] == ["今天天气真不错"]

    def test_first_sentence_waits_no_longer_than_its_limit(self) -> None:
        """A steady stream without punctuation is cut 250 ms after its first character."""
        splitter = SentenceSplitter()
        out: list[Sentence] = []
        now = 0.0
        while not out:
            out = splitter.feed("天", now)
            now += 30 * MS
        assert 250 * MS <= now - 30 * MS < 281 * MS

    def test_light_first_text_is_kept_for_the_idle_flush(self) -> None:
        """Less than 12 weight is not worth a cut by the short timers."""
        splitter = SentenceSplitter()
        splitter.feed("今天天", 0.0)
        assert splitter.next_deadline() == pytest.approx(1.5)
        assert splitter.poll(1.49) == []
        assert [s.text for s in splitter.poll(1.5)] == ["今天天"]

    def test_first_chunk_timer_prefers_the_last_clause_and_keeps_words_whole(self) -> None:
        """A timer cuts after a comma if there is one, else between words, never inside one."""
        for text, expected in (
            ("大家好，欢迎来到我", "大家好，"),
            ("we will now go to the new wareho", "we will now go to the new "),
            ("请打开我们的网站 https://exam", "请打开我们的网站 "),
        ):
            splitter = SentenceSplitter()
            splitter.feed(text, 0.0)
            assert [s.text for s in splitter.poll(0.2)] == [expected]

    @pytest.mark.parametrize(
        "text", ["the price is now 19.", "go to https://example.", "it was v2."]
    )
    def test_full_stop_in_a_number_waits_for_the_idle_flush(self, text: str) -> None:
        """ "19." may become "19.9": only 1.5 s of silence cuts there."""
        splitter = SentenceSplitter()
        splitter.feed(text, 0.0)
        out = splitter.poll(0.2) + splitter.poll(1.4)
        assert all(not s.text.endswith(".") for s in out)
        assert splitter.poll(1.5)[-1].text.endswith(".")

    @pytest.mark.parametrize(
        "text", ["Hello.", "Let me check that.", "好的。我看看。", "Well, no."]
    )
    def test_finished_sentence_is_not_kept_while_the_writer_thinks(self, text: str) -> None:
        """400 ms after an ordinary sentence end it is believed, even if short."""
        splitter = SentenceSplitter()
        out = splitter.feed(text, 0.0)
        out += splitter.poll(0.4)
        assert "".join(s.text for s in out) == text

    def test_mark_waits_no_longer_than_the_idle_moment_for_a_closer(self) -> None:
        """After the first sentence a mark waits for one more character, but not for long."""
        splitter = SentenceSplitter()
        assert len(splitter.feed("好的。今天天气很好！", 0.0)) == 1
        assert splitter.next_deadline() == pytest.approx(0.120)
        assert [s.text for s in splitter.poll(0.125)] == ["今天天气很好！"]

    def test_flush_cuts_anything_and_the_rest_continues(self) -> None:
        """A flush may cut a number; what follows is a sentence of its own."""
        splitter = SentenceSplitter()
        splitter.feed("只要19", 0.0)
        assert [s.text for s in splitter.flush()] == ["只要19"]
        assert splitter.flush() == []
        splitter.feed(".9元。", 0.0)
        assert [s.text for s in splitter.finish()] == [".9元。"]

    def test_nothing_to_say_sets_no_timer(self) -> None:
        """Spaces, marks and emoji wait for something that can be spoken."""
        splitter = SentenceSplitter()
        assert splitter.feed(" \n…！😀", 0.0) == []
        assert splitter.next_deadline() is None
        assert splitter.poll(100.0) == splitter.flush() == []

    def test_finished_splitter_is_silent(self) -> None:
        """After the end neither timer nor deadline remains."""
        splitter = SentenceSplitter()
        splitter.feed("今天天", 0.0)
        splitter.finish()
        assert splitter.next_deadline() is None
        assert splitter.poll(9.0) == []


class TestCost:
    @staticmethod
    def count_calls(text: str) -> int:
        """Return how many functions, Python's and C's, run while `text` is fed by character."""
        splitter, num_calls = SentenceSplitter(), 0

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal num_calls
            num_calls += event in ("call", "c_call")

        deltas = list(text)
        sys.setprofile(count)
        try:
            for delta in deltas:
                splitter.feed(delta, 0.0)
        finally:
            sys.setprofile(None)
        return num_calls

    @pytest.mark.parametrize(
        "unit",
        [
            "春夏秋冬",
            "今天，天气。",
            "word ",
            "a.b/c:d?",
            "“你",
            "```x. ",
            "<b ",
            " ",
            "e\u0301",
            "...",
            "1,",
        ],
    )
    def test_work_is_linear(self, unit: str) -> None:
        """Ten times the text is ten times the calls: nothing is scanned again."""
        small = self.count_calls(unit * 100)
        assert self.count_calls(unit * 1000) < 11 * small

    def test_pending_text_is_bounded(self) -> None:
        """Whatever is fed, no more than the heaviest sentence waits."""
        splitter = SentenceSplitter()
        for _ in range(500):
            splitter.feed("a.b/c:d?```<b “春", 0.0)
            assert splitter.pending_chars < 600
