"""Replace a letter by one of another script that looks the same (Boucher et al. 2021,
arXiv:2106.09898).

    paypal  →  pаypal, with a Cyrillic а        full width:  Who  →  Ｗｈｏ

One letter a word is Cyrillic or Greek; or all of a word's letters, digits and signs have the full
width of Chinese characters. `LATIN` undoes the first, Unicode's normal form NFKC the second.
"""

import torch

from plainformer.explain.stress.choose import altering, draw

CYRILLIC = dict(zip("aceopxyijshABCEHIJKMOPSTXY", "асеорхуіјѕһАВСЕНІЈКМОРЅТХУ", strict=True))
GREEK = dict(zip("ovABEHIKMNOPTXYZ", "ονΑΒΕΗΙΚΜΝΟΡΤΧΥΖ", strict=True))
LATIN = {other: letter for table in (CYRILLIC, GREEK) for letter, other in table.items()}
"""The Latin letter that each of the others looks like."""
FULL_WIDTH = {chr(code): chr(code + 0xFEE0) for code in range(ord("!"), ord("~") + 1)}


def with_homoglyph(word: str, generator: torch.Generator) -> str:
    """Replace one Latin letter that has a double in another script."""
    places = [place for place, letter in enumerate(word) if letter in CYRILLIC or letter in GREEK]
    if not places:
        return word
    place = draw(places, generator)
    doubles = [table[word[place]] for table in (CYRILLIC, GREEK) if word[place] in table]
    return word[:place] + draw(doubles, generator) + word[place + 1 :]


def in_full_width(word: str, _: torch.Generator) -> str:
    """Write the ASCII characters of a word in full width."""
    return "".join(FULL_WIDTH.get(character, character) for character in word)


homoglyphs = altering(with_homoglyph)
full_width = altering(in_full_width)
