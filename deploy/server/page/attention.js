// Attention between words: choose a layer and a head, and see where each word looks.

import { ask } from "./api.js";
import { element, paint, percent, rove, shape } from "./dom.js";
import { say } from "./text.js";

const FAINT = 0.02;
const NAMED = 3;

export class AttentionView {
  // `chosen` remembers layer and head; `changed` asks for the attention of another layer.
  constructor(model, chosen, changed) {
    Object.assign(this, { model, chosen, changed });
    chosen.layer = Math.max(0, Math.min(chosen.layer, model.layers - 1)); // static vectors have none
    chosen.head = Math.min(chosen.head, model.heads - 1);
    this.sequence = 0;
    this.figure = element("div", { class: "figure" });
    this.sequences = element("div");
    this.maps = Array.from({ length: model.heads }, () => 
      element("canvas", { class: "map", "aria-hidden": "true" }));
    this.element = element("div", { class: "attention" },
      element("div", { class: "choices" },
        radios("layer", say.layer, model.layers, chosen.layer, (layer) => {
          chosen.layer = layer;
          changed();
        }),
        radios("head", say.head, model.heads, chosen.head, (head) => {
          chosen.head = head;
          this.draw();
        }, this.maps),
        this.sequences),
      this.figure);
  }

  async update(input, signal) {
    const body = { model: this.model.name, input, layer: this.chosen.layer };
    const { sequences } = await ask("attention", body, signal);
    this.found = sequences;
    this.sequence = Math.min(this.sequence, sequences.length - 1);
    const legend = say.sequence(this.model.task);
    this.sequences.replaceChildren(...(sequences.length === 1 ? [] : [
      radios("sequence", legend, sequences.length, this.sequence, (sequence) => {
        this.sequence = sequence;
        this.draw();
      })]));
    this.draw();
  }

  draw() {
    this.repaint();
    const { words, weights } = this.found[this.sequence];
    this.figure.replaceChildren(...lines(words, weights[this.chosen.head]));
  }

  repaint() {
    if (!this.found) return;
    const { weights } = this.found[this.sequence];
    // Square roots, so that small weights are seen, too.
    this.maps.forEach((map, head) => {
      paint(map, (weights[head] ?? [[0]]).map((row) => row.map(Math.sqrt)));
    });
  }
}

// A choice of one of `count`, with a picture of each where there are `pictures`.
function radios(name, legend, count, chosen, choose, pictures = null) {
  return element("fieldset", { class: pictures ? "pictures" : null },
    element("legend", {}, legend),
    Array.from({ length: count }, (_, index) => element("label", {},
      element("input", {
        type: "radio", name, value: index, checked: index === chosen,
        onchange: () => choose(index),
      }),
      pictures?.[index], element("span", {}, `${index + 1}`))));
}

// The words twice, and a line from each to those it looks at.
function lines(words, weights) {
  const svg = shape("svg", {
    viewBox: `0 0 100 ${words.length}`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  const paths = weights.map((row, i) => row.map((weight, j) => {
    if (weight < FAINT) return null;
    const [a, b] = [i + 0.5, j + 0.5];
    const path = shape("path", { d: `M0 ${a}C45 ${a} 55 ${b} 100 ${b}` });
    path.style.setProperty("--weight", weight);
    svg.append(path);
    return path;
  }));
  const spelled = (word) => element("span", { class: word.special ? "special" : null }, word.text);
  const from = words.map((word) =>
    element("button", { type: "button", "aria-pressed": "false" }, spelled(word)));
  const to = words.map((word) => 
    element("li", {}, element("span", {}, spelled(word)), element("output")));
  const said = element("p", { class: "said", "aria-live": "polite" }, say.attentionHint);
  const whole = element("div", { class: "lines" },
    element("ol", { class: "from", "aria-label": say.words },
      from.map((button) => element("li", {}, button))),
    svg, element("ol", { class: "to", "aria-hidden": "true" }, to));
  whole.style.setProperty("--words", words.length);

  let pinned = null;
  const look = (word) => {
    whole.classList.toggle("one", word !== null);
    paths.forEach((row, i) => row.forEach((path) => path?.classList.toggle("shown", i === word)));
    from.forEach((button, i) => button.classList.toggle("shown", i === word));
    to.forEach((item, j) => {
      const weight = word === null ? 0 : weights[word][j];
      item.style.setProperty("--weight", weight);
      item.lastChild.textContent = weight < FAINT ? "" : percent(weight);
    });
    said.textContent = word === null ? say.attentionHint : sentence(words, weights[word], word);
  };
  from.forEach((button, word) => {
    button.addEventListener("mouseenter", () => look(word));
    button.addEventListener("mouseleave", () => look(pinned));
    button.addEventListener("focus", () => look(word));
    button.addEventListener("blur", () => look(pinned));
    button.addEventListener("click", () => {
      pinned = pinned === word ? null : word;
      from.forEach((other, i) => other.setAttribute("aria-pressed", String(i === pinned)));
      look(word);
    });
  });
  rove(from);
  return [whole, said];
}

function sentence(words, row, word) {
  const best = row.map((weight, j) => [weight, words[j].text]).sort((a, b) => b[0] - a[0]);
  const named = best.slice(0, NAMED).filter(([weight]) => weight >= FAINT);
  const list = named.map(([weight, text]) => say.target(text, percent(weight))).join(say.listed);
  return say.looksAt(words[word].text, list);
}
