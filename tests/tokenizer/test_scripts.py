"""Words in the scripts of the world, for every kind of tokenizer: what is masked together."""

import json
import unicodedata
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from plainformer.base.words import words_of
from plainformer.tokenizer import HuggingFace, SentencePiece, Tokenizer, WordPiece, train_tokenizer
from tests.tokenizer.hostile import hostile

SCRIPTS = {
    "Latin, composed": "naïve Straße façade übermäßig",
    "Latin, decomposed": unicodedata.normalize("NFD", "naïve façade tiếng Việt được"),
    "Greek, polytonic": unicodedata.normalize("NFD", "ἐν ἀρχῇ ἦν ὁ λόγος"),
    "Cyrillic, stressed": "за\u0301мок молоко\u0301 хорошо\u0301",
    "Armenian": "մարդիկ ծնվում են ազատ",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი",
    "Hebrew, pointed": "בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת",
    "Arabic": "يولد جميع الناس أحرارا",
    "Arabic, vocalised": "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا مُتَسَاوِينَ",
    "Syriac": "ܒܪܫܝܬ ܐܝܬܘܗ̱ܝ ܗܘܐ",
    "Thaana": "ދިވެހި ބަސް ރާއްޖެ",
    "Devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে",
    "Gurmukhi": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ",
    "Gujarati": "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ",
    "Tamil": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர் அவர்கள் மதிப்பிலும்",
    "Telugu": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును",
    "Kannada": "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಹುಟ್ಟಿದ್ದಾರೆ",
    "Malayalam": "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും",
    "Sinhala": "සියලු මනුෂ්\u200dයයෝ නිදහස්ව උපත",
    "Thai": "มนุษย์ ทั้งหลาย เกิด มา มี อิสระ และ",
    "Lao": "ມະນຸດ ທຸກຄົນ ເກີດມາ",
    "Khmer": "មនុស្ស ទាំងអស់ កើតមក",
    "Burmese": "လူတိုင်း သည် တူညီ",
    "Ethiopic": "ሰብዓዊ ፍጡራን ሁሉ",
    "Korean": "모든 인간은 태어날 때부터 자유로우며",
    "Korean, decomposed": unicodedata.normalize("NFD", "모든 인간은 태어날"),
    "N'Ko": "ߡߐ߱ ߟߎ߬ ߓߍ߯",
}
SIGNS = {
    "signs": ("क्या? नहीं, हाँ।", ["क्या", "?", "नहीं", ",", "हाँ", "।"]),
    "digits": ("१२ दिन 42", ["१२", "दिन", "42"]),
    "Tibetan": ("བོད་སྐད", ["བོད", "་", "སྐད"]),
    "mixed": ("C+ और C#", ["C", "+", "और", "C", "#"]),
}
TEXTS = [*SCRIPTS.values(), *(text for text, _ in SIGNS.values())]


def foreign(pre_tokenizer: Any, model: Any, trainer: Any, normalizer: Any = None) -> HuggingFace:
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizer
    if normalizer:
        backend.normalizer = normalizer
    backend.train_from_iterator(TEXTS * 2, trainer)
    backend.add_special_tokens(["<mask>"])
    return HuggingFace(json.loads(backend.to_str()), config={}, special_tokens={})


def byte_level() -> HuggingFace:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    return foreign(pre_tokenizers.ByteLevel(add_prefix_space=False), models.BPE(), trainer)


def metaspace() -> HuggingFace:
    trainer = trainers.UnigramTrainer(
        vocab_size=900, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    return foreign(pre_tokenizers.Metaspace(), models.Unigram(), trainer, normalizers.NFKC())


KINDS = {
    "wordpiece": lambda: train_tokenizer(TEXTS * 3, vocab_size=900),
    "wordpiece, cased": lambda: train_tokenizer(TEXTS * 3, vocab_size=900, lowercase=False),
    "unigram": lambda: train_tokenizer(TEXTS * 3, kind="unigram", vocab_size=704),
    "unigram, of bytes": lambda: train_tokenizer(["abc d e"] * 9, kind="unigram", vocab_size=268),
    "bpe": lambda: train_tokenizer(TEXTS * 3, kind="bpe", vocab_size=760),
    "foreign, byte-level": byte_level,
    "foreign, metaspace": metaspace,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: Any) -> Tokenizer:
    made = KINDS[request.param]()
    assert isinstance(made, WordPiece | SentencePiece | HuggingFace)
    return made


def begun(tokenizer: Tokenizer, text: str) -> list[int]:
    """Where the words of a text begin, by its tokens."""
    tokens = tokenizer.tokens(text)
    assert sorted(tokens.word_ids) == tokens.word_ids
    assert [id for word in tokenizer.words(text) for id in word] == tokens.ids
    assert [i for i, word in enumerate(tokenizer.words(text)) for _ in word] == tokens.word_ids
    starts: dict[int, int] = {}
    for word, (start, end) in zip(tokens.word_ids, tokens.offsets, strict=True):
        if start < end and not text[start:end].isspace():
            starts.setdefault(word, start)
    return list(starts.values())


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_are_what_stands_between_spaces(tokenizer: Tokenizer, script: str) -> None:
    text = SCRIPTS[script]
    words = text.split(" ")
    assert [text[a:b] for a, b in words_of(text)] == words
    text, offsets = " ".join(words), list(accumulate(len(word) + 1 for word in words[:-1]))
    assert begun(tokenizer, text) == [0, *offsets]


@pytest.mark.parametrize("name", SIGNS)
def test_signs_stand_alone(tokenizer: Tokenizer, name: str) -> None:
    text, words = SIGNS[name]
    assert [text[a:b] for a, b in words_of(text)] == words
    if not isinstance(tokenizer, HuggingFace):  # whose pieces may hold a sign and a vowel sign
        assert begun(tokenizer, text) == [a for a, _ in words_of(text)]


CHINESE = [
    "王小明在北京大学学习。",
    "昨天，王小明 和 李红  去了上海！",
    " 我们\u3000在 家",
    "hello 王小明, the 大学 of 北京",
    "二〇〇一年３月㍻十年，⼈々とカ、ﾃ的",
    "[MASK]小明 [MASK] 大 [MASK]学 the",
    "\u200b王\x01 小",
    "龘 龘a 龘",
    "日本語を 学ぶ ラーメン",
    "\n我\t们\n",
]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def chinese(request: Any) -> SentencePiece:
    texts = [*(text.replace("龘", "") for text in CHINESE), "the cat sat on the mat"] * 30
    made = train_tokenizer(texts, kind=request.param, vocab_size=325)
    assert isinstance(made, SentencePiece)
    return made


@pytest.fixture(scope="module")
def theirs(chinese: SentencePiece, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("chinese")
    chinese.save(folder)
    return AutoTokenizer.from_pretrained(folder)


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    return [tokenizer.token(id) for id in ids]


def test_a_chinese_character_is_a_token(chinese: SentencePiece) -> None:
    text = "王小明在北京大学学习。"
    assert pieces(chinese, chinese.tokens(text).ids) == list(text)
    assert pieces(chinese, chinese.word_tokens(list(text)).ids) == list(text)
    assert chinese.tokens(text).word_ids == chinese.word_tokens(list(text)).word_ids
    long = [piece for piece in pieces(chinese, [*range(chinese.vocab_size)]) if len(piece) > 1]
    assert not [piece for piece in long if any("\u4e00" <= c <= "\u9fff" for c in piece)]


@pytest.mark.parametrize("text", CHINESE)
def test_transformers_reads_chinese_alike(chinese, theirs, text: str) -> None:
    mine, other = chinese.encode(text, text), theirs(text, text)
    assert mine.ids == other["input_ids"]
    for start, end in chinese.tokens(text).offsets:
        assert text[start:end].strip() == text[start:end] or not text[start:end].strip()
    characters = [character for character in text if "\u4e00" <= character <= "\u9fff"]
    apart = theirs(characters, is_split_into_words=True)
    assert chinese.template.encode(chinese.word_tokens(characters), None).ids == apart["input_ids"]


@settings(max_examples=200, deadline=None)
@given(hostile.map(lambda text: unicodedata.normalize("NFC", text)))
def test_any_characters_one_by_one_are_the_text(chinese, text: str) -> None:
    """Of Chinese alone: the tokens of the text, and of its characters."""
    text = "".join(character for character in text if "\u4e00" <= character <= "\u9fff")
    assert chinese.tokens(text).ids == chinese.word_tokens(list(text)).ids
    assert chinese.tokens(text).offsets == [
        (i, i + 1) for i, c in enumerate(text) for _ in _of(chinese, c)
    ]


def _of(tokenizer: Tokenizer, character: str) -> list[int]:
    return tokenizer.tokens(character).ids


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["ฉัน", "รัก", "คุณ"], [False, True, True]),
        (["我", "，", "你", "!"], [False, True, True, False]),
        (["東京", "に", "ラーメン", "Tokyo", "で"], [False, True, True, False, False]),
        (["ខ្ញុំ", "ស្រលាញ់"], [False, True]),
        (["मैं", "और"], [False, False]),
        (["나는", "너를"], [False, False]),
        (["我", "2", "月"], [False, False, False]),
    ],
)
def test_words_without_spaces_are_joined_without_one(chinese, words, joined) -> None:
    tokens = chinese.word_tokens(words)
    firsts = [tokens.word_ids.index(number) for number in range(len(words))]
    spaced = [chinese.token(tokens.ids[first]).startswith("▁") for first in firsts]
    han = ["\u4e00" <= word[0] <= "\u9fff" for word in words]
    assert spaced == [
        not is_joined and not is_han for is_joined, is_han in zip(joined, han, strict=True)
    ]
