// Put a mask on a word, and see what the model expects there.

import { ask } from "./api.js";
import { bars, element, rove } from "./dom.js";
import { say } from "./text.js";

const TOP = 8;

export class MaskView {
  constructor(model, models, changed, choose) {
    Object.assign(this, { model, changed });
    this.hidden = new Set();
    if (model.mask === null) {
      this.element = element("div", {}, withoutHead(model, models, choose));
      return;
    }
    this.sentence = element("p", { class: "masking", role: "group", "aria-label": say.maskWords });
    this.guesses = element("div", { class: "columns" });
    this.note = element("p", { class: "hint" });
    this.element = element("div", {},
      element("p", { class: "hint" }, say.maskHint), this.sentence, this.guesses, this.note);
  }

  async update(_, signal, { text }) {
    if (this.model.mask === null) return;
    if (text !== this.text) {
      const body = { model: this.model.name, inputs: text, add_special_tokens: false };
      const [tokens] = await ask("tokenize", body, signal);
      this.text = text;
      this.words = wordsOf(text, tokens);
      this.hidden.clear();
      this.drawWords();
    }
    const places = this.words.flatMap((word, index) =>
      this.hidden.has(index) || word.text === this.model.mask ? [index] : []);
    const masks = !places.length ? [] : (await ask(
      "fill", { model: this.model.name, text: this.masked(), top: TOP }, signal)).masks;
    this.drawGuesses(places, masks);
  }

  // The text with a mask in the place of each hidden word.
  masked() {
    const letters = Array.from(this.text);
    let whole = "", before = 0;
    this.words.forEach((word, index) => {
      if (!this.hidden.has(index)) return;
      whole += letters.slice(before, word.start).join("") + this.model.mask;
      before = word.stop;
    });
    return whole + letters.slice(before).join("");
  }

  drawWords() {
    const letters = Array.from(this.text);
    let before = 0;
    this.buttons = [];
    this.sentence.replaceChildren();
    this.words.forEach((word, index) => {
      const button = element("button", {
        type: "button", "aria-pressed": "false", onclick: () => this.toggle(index),
      }, word.text);
      this.sentence.append(letters.slice(before, word.start).join(""), button);
      this.buttons.push(button);
      before = word.stop;
    });
    this.sentence.append(letters.slice(before).join(""));
    rove(this.buttons);
  }

  toggle(index) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    this.buttons[index].setAttribute("aria-pressed", String(this.hidden.has(index)));
    this.changed();
  }

  drawGuesses(places, masks) {
    this.buttons.forEach((button, index) => {
      const hidden = this.hidden.has(index);
      const guess = masks[places.indexOf(index)]?.[0].text.trim();
      button.textContent = hidden ? guess : this.words[index].text;
      button.setAttribute("aria-label", this.words[index].text);
    });
    this.note.textContent = masks.length ? say.maskBars : "";
    this.guesses.replaceChildren(...masks.map((expected, number) => {
      const word = this.words[places[number]]?.text;
      const title = word === this.model.mask ? say.atMask : say.insteadOf(word);
      return element("section", {}, element("h2", {}, title), bars(expected.map(
        ({ text, token, probability }) => ({
          name: text.trim() || token, share: probability, chosen: text.trim() === word,
        })), expected[0].probability));
    }));
  }
}

// The words of a text, each one token or several: [{text, start, stop}].
function wordsOf(text, tokens) {
  const letters = Array.from(text), words = [];
  let number = null;
  for (const { word, start, stop } of tokens) {
    if (start === stop) continue;
    if (word === number) words.at(-1).stop = stop;
    else words.push({ start, stop });
    number = word;
  }
  return words.map((one) => ({ ...one, text: letters.slice(one.start, one.stop).join("") }));
}

function withoutHead(model, models, choose) {
  const others = models.filter((one) => one.mask !== null);
  return [
    element("p", {}, say.noMask(model.name)),
    others.length
      ? element("p", {}, others.map((one) => element(
        "button", { type: "button", class: "plain", onclick: () => choose(one.name) },
        say.useModel(one.name))))
      : element("p", { class: "hint" }, say.noMaskHere),
  ];
}
