#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes io/tokenizer/unicode_tables.c: where Hugging Face tokenizers knows another Unicode.

    pip install tokenizers==0.22.1      # Oniguruma of Unicode 16; a normalizer of an older one
    python3.11 make_unicode.py          # whose unicodedata is Unicode 14, PCRE2 10.42's version

Split patterns: the code points whose general category differs between tokenizers' Oniguruma and
Unicode 14, each with an older code point of the same category and the same length in UTF-8.
NFC: the code points that tokenizers' normalizer leaves alone although utf8proc (or a Unicode newer
than utf8proc's) would reorder or compose them."""

import ctypes
import pathlib
import unicodedata

from tokenizers import Regex, __version__, normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).parents[3] / "io" / "unicode_tables.c"
CHARS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Nd Nl No Mn Mc Me Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
              "Cc Cf Co").split()
# An old code point of each category, three and four bytes long.
PROXY = {"Lu": (0x1E00, 0x10400), "Ll": (0x1E01, 0x10428), "Lm": (0x1D2C, 0x10781),
         "Lo": (0x3400, 0x10000), "Nd": (0x0966, 0x104A0), "No": (0x2460, 0x10107),
         "Mn": (0x20D0, 0x101FD), "Mc": (0x0903, 0x11000), "Pd": (0x2010, 0x10EAD),
         "Po": (0x2020, 0x10100), "Sm": (0x2200, 0x1D6C1), "So": (0x2195, 0x1D100),
         "Cf": (0x200B, 0x110BD), "Sk": (0x309B, 0x1F3FB), "Sc": (0x20A0, 0x1E2FF)}


def members(pattern):
    """The code points that Oniguruma matches."""
    split, found = pre_tokenizers.Split(Regex(pattern), "removed"), set()
    for i in range(0, len(CHARS), 2048):
        block = CHARS[i:i + 2048]
        kept = set("".join(t for t, _ in split.pre_tokenize_str("".join(map(chr, block)))))
        found.update(c for c in block if chr(c) not in kept)
    return found


def newer():
    """(code point, proxy) where the category is another one."""
    pairs = []
    for category in CATEGORIES:
        for c in members(rf"\p{{{category}}}"):
            if unicodedata.category(chr(c)) == category:
                continue
            length = len(chr(c).encode())
            proxy = PROXY[category][length - 3]
            assert len(chr(proxy).encode()) == length
            assert unicodedata.category(chr(proxy)) == category
            pairs.append((c, proxy))
    pairs.append((0x180E, 0x200B))  # white space to PCRE2, a format character to Unicode
    return sorted(pairs)


def utf8proc():
    library, libc = ctypes.CDLL("libutf8proc.so.2"), ctypes.CDLL(None)
    library.utf8proc_NFC.restype = ctypes.c_void_p
    library.utf8proc_unicode_version.restype = ctypes.c_char_p
    assert library.utf8proc_unicode_version() == b"15.0.0"

    def nfc(text):
        pointer = library.utf8proc_NFC(text.encode())
        result = ctypes.string_at(pointer).decode()
        libc.free(ctypes.c_void_p(pointer))
        return result
    return nfc


def inert(marks):
    """Code points that tokenizers' NFC knows nothing of, and a newer one does."""
    theirs, ours, found = normalizers.NFC().normalize_str, utf8proc(), set()
    for c in CHARS:
        x = chr(c)
        probes = (x, "a\u0316" + x + "b", "a" + x + "\u0334b", "a\u0301" + x + "b")
        if any(theirs(probe) != ours(probe) for probe in probes):
            found.add(c)
    unknown = {c for c in marks if unicodedata.category(chr(c)) == "Cn"}  # since Unicode 14
    # Second halves of newer compositions: of every canonical pair that utf8proc composes.
    for c in CHARS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(p, 16)) for p in parts)
            if theirs(pair) != ours(pair):
                found.add(int(parts[1], 16))
    for c in unknown:  # nothing is lost by leaving alone what they leave alone
        x = chr(c)
        assert all(theirs(t) == t for t in (x, "a\u0316" + x + "b", "a" + x + "\u0334b"))
    return found | unknown


def ranges(pairs):
    """[(first, last, value)] of sorted (code point, value)."""
    merged = []
    for c, value in pairs:
        if merged and merged[-1][1] == c - 1 and merged[-1][2] == value and \
                len(chr(c).encode()) == len(chr(merged[-1][0]).encode()):
            merged[-1][1] = c
        else:
            merged.append([c, c, value])
    return merged


def rows(entries):
    lines, line = [], "   "
    for entry in entries:
        word = " {" + ", ".join(f"0x{n:X}" for n in entry) + "},"
        if len(line) + len(word) > 98:
            lines.append(line)
            line = "   "
        line += word
    return "\n".join([*lines, line])


def main():
    assert unicodedata.unidata_version == "14.0.0", "run it with Python 3.11"
    proxies = ranges(newer())
    still = ranges((c, 0) for c in sorted(inert(members(r"\p{M}"))))
    OUT.write_text(f"""/* SPDX-License-Identifier: MIT
 * Written by tests/data/tokenizers/make_unicode.py from tokenizers {__version__}; not edited. */
#include "io/tokenizer/unicode.h"

/* clang-format off */
const awq_unicode_range awq_unicode_newer[] = {{
{rows(proxies)}
}};
const int awq_unicode_newer_count = {len(proxies)};

const awq_unicode_range awq_unicode_inert[] = {{
{rows(still)}
}};
const int awq_unicode_inert_count = {len(still)};
/* clang-format on */
""")


if __name__ == "__main__":
    main()
