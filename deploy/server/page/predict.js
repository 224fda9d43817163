// The prediction of each task: probabilities as bars, tags as coloured spans, an answer in its
// passage, a vector as a strip.

import { ask } from "./api.js";
import { bars, element, paint, percent } from "./dom.js";
import { say } from "./text.js";

const SHOWN = 8;
const HUES = 8;

export class PredictView {
  constructor(model) {
    this.model = model;
    this.element = element("div");
  }

  async update(input, signal) {
    const [answer] = await predictions(this.model, [input], signal);
    this.element.replaceChildren(show(this.model, answer));
    this.repaint();
  }

  repaint() {
    repaint(this.element);
  }
}

export async function predictions(model, inputs, signal) {
  if (model.task !== "embedding") {
    return (await ask("predict", { model: model.name, inputs }, signal)).predictions;
  }
  const vectors = await ask("embed", { model: model.name, inputs }, signal);
  return vectors.map((vector) => ({ vector }));
}

// Show the answer to one input.
export function show(model, answer) {
  const box = element("div", { class: "prediction" });
  if (answer.vector) box.append(...vector(answer.vector));
  else if (answer.entities) box.append(...entities(model, answer));
  else if (answer.tags) box.append(tags(answer));
  else if (answer.best) box.append(...passage(answer));
  else if (Array.isArray(answer.probabilities)) box.append(shares(options(answer)));
  else if (answer.probabilities) box.append(shares(labels(answer)));
  else box.append(number(say.score, answer.score));
  box.append(...doubts(answer).map((text) => element("p", { class: "hint" }, text)));
  return box;
}

// What a calibrated model says of how sure it is.
function doubts(answer) {
  const found = answer.abstained ? [say.abstained] : [];
  if (answer.set) found.push(say.set(answer.set.join(say.listed)));
  if (answer.interval) found.push(say.interval(...answer.interval.map((x) => x.toFixed(3))));
  return found;
}

export function number(name, value) {
  return element("p", { class: "number" },
    element("span", {}, name), element("strong", {}, value.toFixed(3)));
}

function labels(answer) {
  const chosen = new Set(answer.labels ?? [answer.label]);
  return Object.entries(answer.probabilities).map(
    ([name, share]) => ({ name, share, chosen: chosen.has(name) }));
}

function options(answer) {
  return answer.options.map((name, index) => ({
    name, share: answer.probabilities[index], chosen: index === answer.number,
  }));
}

// Bars, those after the first few behind a summary.
function shares(rows) {
  if (rows.length <= SHOWN + 1) return bars(rows);
  return element("div", {}, bars(rows.slice(0, SHOWN)), element("details", {},
    element("summary", {}, say.more(rows.length - SHOWN)), bars(rows.slice(SHOWN))));
}

function entities(model, answer) {
  const letters = Array.from(answer.text ?? answer.words.join(" "));
  const kinds = [...new Set(model.labels.map((label) => label.replace(/^[A-Z]-/, "")))]
    .filter((kind) => kind !== "O");
  const hue = (kind) => `hue${Math.max(0, kinds.indexOf(kind)) % HUES}`;
  const text = element("p", { class: "tagged" });
  let before = 0;
  for (const one of answer.entities) {
    const [start, end] = one.characters;
    text.append(letters.slice(before, start).join(""), element("mark", { class: hue(one.type) },
      letters.slice(start, end).join(""), element("span", { class: "kind" }, one.type)));
    before = end;
  }
  text.append(letters.slice(before).join(""));
  if (!answer.entities.length) return [text, element("p", { class: "hint" }, say.entities.none)];
  const { caption, ...heads } = say.entities;
  const names = ["type", "text", "characters", "score"];
  const table = element("table", {},
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {},
      names.map((name) => element("th", { scope: "col", class: name }, heads[name])))),
    element("tbody", {}, answer.entities.map((one) => element("tr", {},
      element("td", {}, element("span", { class: `kind ${hue(one.type)}` }, one.type)),
      element("td", {}, one.text),
      element("td", { class: "characters" }, one.characters.join("–")),
      element("td", { class: "score" }, percent(one.score))))));
  return [text, table];
}

// Words over their tags, where these are no entities.
function tags(answer) {
  return element("p", { class: "interlinear" }, answer.words.map((word, index) =>
    element("span", {}, element("span", {}, word),
      element("span", { class: "kind" }, answer.tags[index] || "–"))));
}

function passage(answer) {
  const letters = Array.from(answer.context);
  const text = element("p", { class: "tagged" });
  if (answer.start == null) text.append(answer.context);
  else {
    text.append(letters.slice(0, answer.start).join(""),
      element("mark", { class: "hue0" }, letters.slice(answer.start, answer.end).join("")),
      letters.slice(answer.end).join(""));
  }
  const rows = answer.best.map((span) => ({
    name: span.answer, share: span.score, chosen: span.start === answer.start
      && span.end === answer.end,
  }));
  if (answer.no_answer != null) {
    rows.push({ name: say.noAnswerIn, share: answer.no_answer, chosen: answer.start == null });
  }
  return [text, bars(rows)];
}

const painted = new WeakMap();

function vector(numbers) {
  const largest = Math.max(...numbers.map(Math.abs)) || 1;
  const wide = Math.min(64, numbers.length);
  const filled = [...numbers, ...Array((wide - (numbers.length % wide)) % wide).fill(0)];
  const rows = [];
  for (let i = 0; i < filled.length; i += wide) {
    rows.push(filled.slice(i, i + wide).map((x) => x / largest));
  }
  const text = say.vector(numbers.length);
  const canvas = element("canvas", { class: "vector", role: "img", "aria-label": text });
  painted.set(canvas, rows);
  return [canvas, element("p", { class: "hint" }, text)];
}

// Paint the vectors in the colours of now.
export function repaint(within) {
  for (const canvas of within.querySelectorAll("canvas.vector")) paint(canvas, painted.get(canvas));
}
