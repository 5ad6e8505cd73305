# SPDX-License-Identifier: MIT
"""Texts to tokenize: a corpus of many scripts, strings by a generator of our own (the same on every
Python), every code point. make.py and the tests share it, so that only ids have to be kept."""

SPECIAL = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<s>", "</s>", "<unk>", "[INST]",
           "[/INST]", "<|im_start|>", "<|im_end|>", "<tool_call>", "<left>", "<right>", "<both>",
           "word", "<norm é>", "<|im_start|", "|>", "<", "<0x0A>", "<|eot_id|>>")

CORPUS = (
    "", " ", "\n", "a", "The quick brown fox jumps over the lazy dog.",
    "I'm sure they've said it's OK, we'll see; DON'T, WE'RE, I'D, YOU'LL, 'tis 'S 's'S 'ſ x'ſ y'K",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. STRASSE Straße ẞ ﬁﬂ ﬆ",
    "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Γαζέες καὶ μυρτιὲς δὲν θὰ βρῶ πιὰ στὸ χρυσαφὶ ξέφωτο",
    "דג סקרן שט בים מאוכזב ולפתע מצא לו חברה", "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน", "我能吞下玻璃而不伤身体。1,234元",
    "いろはにほへと ちりぬるを　わかよたれそ カタカナ ﾊﾝｶｸ", "다람쥐 헌 쳇바퀴에 타고파 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "ყოველთვის მზადაა", "የኢትዮጵያ ሕዝብ", "ខ្មែរ ភាសា", "བོད་ཡིག", "தமிழ் மொழி ௧௨௩", "ಕನ್ನಡ ೧೨೩",
    "Ünïcödé e\u0301 e\u0327\u0301 \u1e69 s\u0323\u0307 s\u0307\u0323 q\u0307\u0323 \u212b \u2126",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ☺️ 1️⃣ 🫨🫩", "x² + y³ = √z ≠ ∞ ∑ᵢ ½ ¾ Ⅷ ⅷ ① ៣ ٣ ३",
    "def f(x, *args):\n    if x:\n\t\treturn {'a': [1, 2.5e-10, 0xFF]}\n    # comment\n\n\n",
    "#include <stdio.h>\r\nint main(void)\r\n{\r\n    return 0;\r\n}\r\n",
    "for (int i = 0; i < n; ++i) { a[i] <<= 2; b->c |= ~mask; } // https://example.com/a_b?c=d#e",
    "   leading", "trailing   ", "a  b   c    d     e      f       g", "tab\tand\t\ttabs\t\t\t",
    "\n\n\n", " \n \n  \n", "\r\n\r\n", "a \n b\n  c", "\u00a0\u00a0x\u2003y\u3000z\u2028w\u0085v",
    "\u180ex\u180e \u200bz\u200d\u200c\ufeff", "1234567890 12 123 1234 1,000,000.00 3.14159",
    "HTTPServer iPhone McDonald's ǅ ǈ XMLHttpRequest camelCase SCREAMING_SNAKE kebab-case 𝐁𝐨𝐥𝐝",
    "...!!!???///\\\\\n///\n~~~~~~~~====----____", "▁ ▁▁a ▁b▁ c▁d", "\x00\x01\x7f\x1b[0m",
    "\ufffd\ufffd bad \ufffd", "<|begin_of_text|>Hi<|eot_id|> there <|end_of_text|>",
    "<s>[INST] Hello [/INST] Hi!</s> <s>x</s>", "a <left> b <right> c <both> d", "sword word words",
    "<norm é> <norm e\u0301>", "word", "word.word", "  <both>  <both>  ", "<left>\n<right>\t<left>",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<|im_start|>user\nhi<|im_end|>\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ab" * 3000, " " * 5000 + "x", "é" * 700, "語" * 900, "=" * 2048, "\n" * 1000,
    "\u0301\u0301\u0323a\u0345\u0344", "\U0001f1e6\U000e0067\U000e007f",
    "\U0002ebf0\U000323af\ua7cd", "\U000105eaword word\U000105ea \u200dword word_",
    "\u0898a\u08ca\u0316 a\u1acf\u0301 \U00011935\U00011930 \U00016d6b",
    "ᲊᲉ ꟛꟚ \U00010d4e\U00010d50",
)

# (first, last) of what the generator takes code points from; newer ones are well represented.
BLOCKS = ((0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0xA0, 0x17F), (0x180, 0x24F),
          (0x2B0, 0x36F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x5FF),
          (0x600, 0x6FF), (0x860, 0x8FF), (0x900, 0x97F), (0x9E0, 0xA50), (0xB80, 0xD7F),
          (0xE00, 0xFFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1200, 0x137F), (0x1680, 0x1700),
          (0x1780, 0x1820), (0x1AB0, 0x1AFF), (0x1C80, 0x1CFF), (0x1D00, 0x1DFF), (0x1E00, 0x1FFF),
          (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF), (0x2C00, 0x2DFF), (0x2E80, 0x30FF),
          (0x3130, 0x33FF), (0x4E00, 0x9FFF), (0xA640, 0xA7FF), (0xA800, 0xABFF), (0xAC00, 0xD7A3),
          (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFF), (0x10000, 0x107FF),
          (0x10900, 0x10FFF), (0x11000, 0x11FFF), (0x16800, 0x16FFF), (0x1B000, 0x1B2FF),
          (0x1D000, 0x1D7FF), (0x1E000, 0x1E9FF), (0x1F000, 0x1FAFF), (0x20000, 0x323AF),
          (0xE0000, 0xE01EF), (1, 0x10FFFF))
SPACES = ("  ", "    ", "\n", "\n\n", "\r\n", "\t", " \n", "\u00a0", "\u3000", "\u2028", "\x0b",
          " ")
WORDS = ("the", " and", "'s", "'LL", "'ve", "n't", "Hello", " World", "XML", "iPhone", "123",
         "0x1F", "1,024.5", "://", "()", "{}", "->", "\u0301", "\u0323\u0307", "e\u0301",
         "\u1112\u1161\u11ab", "\u200d", "\ufe0f", "👩‍👩‍👧", "ß", "ſ", "İ", "▁", "<0x41>")


class Random:
    """xorshift64*: not Python's, whose choices may change between versions."""

    def __init__(self, seed):
        self.state = seed * 0x9E3779B97F4A7C15 % 2**64 or 1

    def below(self, n):
        self.state ^= self.state >> 12
        self.state = (self.state ^ self.state << 25) % 2**64
        self.state ^= self.state >> 27
        return (self.state * 0x2545F4914F6CDD1D % 2**64 >> 33) % n

    def pick(self, items):
        return items[self.below(len(items))]


def part(random):
    kind = random.below(12)
    if kind < 2:
        return random.pick(SPACES) * (1 + random.below(4))
    if kind < 5:
        return random.pick(WORDS)
    if kind == 5:
        return random.pick(SPECIAL)
    if kind == 6:  # bytes of anything, as errors="replace" makes text of them
        return bytes(random.below(256) for _ in range(1 + random.below(8))).decode(errors="replace")
    first, last = random.pick(BLOCKS)
    letters = (first + random.below(last - first + 1) for _ in range(1 + random.below(10)))
    return "".join(chr(c) for c in letters if not 0xD800 <= c < 0xE000)


def fuzzed(count, seed):
    random = Random(seed)
    return ["".join(part(random) for _ in range(1 + random.below(14))) for _ in range(count)]


def every_code_point():
    """Each that may be assigned, beside letters, digits, marks and itself."""
    assigned = (*range(1, 0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200))
    return ["".join(f"a{chr(c)}b {chr(c)}{chr(c)}1{chr(c)}\u0301\u0316{chr(c)}\u0334'{chr(c)}Z"
                    for c in assigned[i:i + 64]) for i in range(0, len(assigned), 64)]
