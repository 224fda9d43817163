"use strict";

// WordPiece, as tokenizer/wordpiece.py has it: a text → its pieces, each with its place in the text.
//
//   new WordPiece(vocabulary).pieces("Plain texts")
//   → [{ piece: "plain", id: …, start: 0, end: 5, word: 0 },
//      { piece: "text", id: …, start: 6, end: 10, word: 1 },
//      { piece: "##s", id: …, start: 10, end: 11, word: 1 }]
//
// Places count UTF-16 units, as everywhere in JavaScript.

const SPECIAL = /(\[(?:PAD|UNK|CLS|SEP|MASK)\])/;
const LONGEST_WORD = 100;

class WordPiece {
  constructor(vocabulary) {
    this.vocabulary = vocabulary;
    this.ids = new Map(vocabulary.map((piece, id) => [piece, id]));
  }

  pieces(text) {
    return this.words(text).flatMap((characters, word) =>
      this.match(characters).map(([piece, first, last]) => ({
        piece,
        id: this.ids.get(piece),
        start: characters[first].start,
        end: characters[last].end,
        word,
      })),
    );
  }

  // The words of a text: lists of { normal, start, end }, normalised characters and their places.
  words(text) {
    const found = [];
    let place = 0;
    for (const part of text.split(SPECIAL)) {
      let word = null;
      const end = place + part.length;
      if (SPECIAL.test(part)) {
        found.push([{ normal: part, start: place, end }]);
        place = end;
        continue;
      }
      for (const character of part) {
        const from = { start: place, end: place + character.length };
        place = from.end;
        for (const normal of normalise(character)) {
          if (normal === " ") {
            word = null;
          } else {
            if (word === null) found.push((word = []));
            word.push({ normal, ...from });
          }
        }
      }
    }
    return found;
  }

  // Take the longest piece that begins the word, then the longest that continues it, and so on.
  match(characters) {
    const word = characters.map(({ normal }) => normal);
    const unknown = [["[UNK]", 0, word.length - 1]];
    if (word.length > LONGEST_WORD) return unknown;
    const found = [];
    for (let first = 0; first < word.length; ) {
      let last = word.length - 1;
      const prefix = first ? "##" : "";
      const piece = () => prefix + word.slice(first, last + 1).join("");
      while (last >= first && !this.ids.has(piece())) last -= 1;
      if (last < first) return unknown;
      found.push([piece(), first, last]);
      first = last + 1;
    }
    return found;
  }
}

// One character → itself in lower case, without accents; spaces around punctuation and Chinese.
function normalise(character) {
  if (character === "\0" || character === "\ufffd") return "";
  if (/[\t\n\r]/.test(character)) return " ";
  if (/[\p{Cc}\p{Cf}\p{Co}]/u.test(character)) return "";
  if (/\p{White_Space}/u.test(character)) return " ";
  const bare = character.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase();
  const spread = bare.replace(/[!-/:-@[-`{-~]|\p{P}/gu, " $& ");
  return isChinese(character.codePointAt(0)) ? ` ${spread} ` : spread;
}

const CHINESE = [
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xf900, 0xfaff],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0x2f800, 0x2fa1f],
];

function isChinese(code) {
  return CHINESE.some(([first, last]) => first <= code && code <= last);
}
