from __future__ import annotations

import pytest

from engine.text.en.dictionary import ARPABET, LETTERS, dictionary
from engine.text.en.g2p import EnglishG2P, split_compound
from engine.text.en.heteronyms import heteronyms
from engine.text.en.morphology import PREFIXES, SUFFIXES
from engine.text.en.neural import predict
from engine.text.en.tagger import tagger


@pytest.fixture(scope="module")
def g2p() -> EnglishG2P:
    return EnglishG2P()


def said(g2p: EnglishG2P, sentence: str, word: str) -> str:
    tokens = sentence.split()
    return " ".join(g2p.sentence(tokens)[tokens.index(word)])


@pytest.mark.parametrize(
    ("sentence", "word", "phones"),
    [
        ("I will read it", "read", "R IY1 D"),
        ("I have just read it", "read", "R EH1 D"),
        ("She read it yesterday", "read", "R EH1 D"),
        ("They read a lot", "read", "R IY1 D"),
        ("He lives here", "lives", "L IH1 V Z"),
        ("It saved many lives", "lives", "L AY1 V Z"),
        ("We live in Paris", "live", "L IH1 V"),
        ("Watch our live stream", "live", "L AY1 V"),
        ("We go live at noon", "live", "L AY1 V"),
        ("Please record a message", "record", "R IH0 K AO1 R D"),
        ("They broke a record", "record", "R EH1 K ER0 D"),
        ("The wind is cold", "wind", "W IH1 N D"),
        ("To wind the clock", "wind", "W AY1 N D"),
        ("I used to smoke", "used", "Y UW1 S T"),
        ("It is used to cut", "used", "Y UW1 Z D"),
        ("He used a knife", "used", "Y UW1 Z D"),
        ("They lead the way", "lead", "L IY1 D"),
        ("An old lead pipe", "lead", "L EH1 D"),
        ("He plays bass guitar", "bass", "B EY1 S"),
        ("We caught a bass", "bass", "B AE1 S"),
        ("Close the door", "Close", "K L OW1 Z"),
        ("It is very close", "close", "K L OW1 S"),
        ("They refuse to go", "refuse", "R IH0 F Y UW1 Z"),
        ("He wiped a tear away", "tear", "T IH1 R"),
        ("A new phone", "A", "AH0"),
        ("Vitamin A helps", "A", "EY1"),
        ("A one zero", "A", "EY1"),
    ],
)
def test_words_with_two_readings(g2p: EnglishG2P, sentence: str, word: str, phones: str) -> None:
    """Part of speech and neighbours choose the pronunciation."""
    assert said(g2p, sentence, word) == phones


@pytest.mark.parametrize(
    ("sentence", "word", "phones"),
    [
        ("plug in the USB stick", "USB", "Y UW1 EH1 S B IY1"),
        ("it is in the US now", "US", "Y UW1 EH1 S"),
        ("the IT team", "IT", "AY1 T IY1"),
        ("AI helps", "AI", "EY1 AY1"),
        ("NASA says", "NASA", "N AE1 S AH0"),
        ("this is FREE today", "FREE", "F R IY1"),
        ("BUY IT NOW !", "IT", "IH1 T"),
        ("the HTTP port", "HTTP", "EY1 CH T IY1 T IY1 P IY1"),
        ("two GPUs", "GPUs", "JH IY1 P IY1 Y UW1 Z"),
        ("two CEOs", "CEOs", "S IY1 IY1 OW1 Z"),
    ],
)
def test_capitals_are_spelled_unless_they_are_words(
    g2p: EnglishG2P, sentence: str, word: str, phones: str
) -> None:
    """Initials are spelled; initials that became words and shouted words are said."""
    assert said(g2p, sentence, word) == phones


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("iPhone", "AY1 F OW2 N"),
        ("PyTorch", "P AY1 T AO2 R CH"),
        ("WebSocket", "W EH1 B S AA1 K AH0 T"),
        ("OpenAI", "OW1 P AH0 N EY1 AY1"),
        ("xqz", "EH1 K S K Y UW1 Z IY1"),
        ("healthcheck", "HH EH1 L TH CH EH1 K"),
        ("Anthropic's", "AE0 N TH R AA1 P IH0 K S"),
        ("Charles's", "CH AA1 R L Z IH0 Z"),
        ("bus's", "B AH1 S AH0 Z"),
        ("dogs'", "D AO1 G Z"),
        ("state-of-the-art", "S T EY2 T AH0 V DH IH0 AA1 R T"),
        ("x-ray", "EH1 K S R EY2"),
        ("wrestlerish", "R EH1 S AH0 L ER0 IH0 SH"),
        ("geographies", "JH IY0 AA1 G R AH0 F IY0 Z"),
        ("rattlers", "R AE1 T AH0 L ER0 Z"),
        ("unliterary", "AH2 N L IH1 T ER0 EH2 R IY0"),
        ("striping", "S T R AY1 P IH0 NG"),
    ],
)
def test_words_outside_the_dictionary(g2p: EnglishG2P, word: str, phones: str) -> None:
    """Case, affixes, possessives and compounds are taken apart before the network is asked."""
    assert " ".join(g2p.word(word)) == phones


def test_compounds_are_split_only_into_common_words() -> None:
    """Chance splits of names are left to the network."""
    assert split_compound("placeholder", dictionary()) == ("place", "holder")
    assert split_compound("mixtral", dictionary()) == ()
    assert split_compound("abc", dictionary()) == ()


def test_every_packaged_sound_exists() -> None:
    """No table holds a phone outside ARPAbet: a typo would be spoken as UNK."""
    words = dictionary()
    assert len(words) > 125_000
    for word in words:
        phones = words.get(word)
        assert phones and ARPABET.issuperset(phones), word
    for sounds in LETTERS.values():
        assert ARPABET.issuperset(sounds)
    for word, entry in heteronyms().items():
        assert ARPABET.issuperset((*entry.matching, *entry.otherwise)), word
    for _, sound in (*SUFFIXES, *PREFIXES):
        assert ARPABET.issuperset(sound)


def test_common_words_are_known_to_be_common() -> None:
    """Frequencies order words; an unknown word has none."""
    words = dictionary()
    assert words.frequency("the") > words.frequency("book") > words.frequency("tractor") > 0
    assert words.frequency("blorptastic") == 0


def test_the_network_spells_unknown_words() -> None:
    """Golden outputs of the packaged weights; other letters than a-z do no harm."""
    assert " ".join(predict("skibidi")) == "S K IH0 B IY1 D IY0"
    assert " ".join(predict("blorfing")) == "B L AO1 R F IH0 NG"
    assert ARPABET.issuperset(predict("ñandú"))
    assert len(predict("a" * 60)) <= 20


def test_the_tagger_reads_a_sentence() -> None:
    """Tags are Penn Treebank's; the two homographs differ."""
    tags = tagger().tag("They refuse to permit us to obtain the refuse permit .".split())
    assert tags == ["PRP", "VBP", "TO", "VB", "PRP", "TO", "VB", "DT", "NN", "NN", "."]
    assert tagger().tag([]) == []
