// Two inputs: the cosine of their vectors, or their predictions side by side.

import { ask } from "./api.js";
import { element } from "./dom.js";
import { Form, kindOf } from "./form.js";
import { number, predictions, repaint, show } from "./predict.js";
import { say } from "./text.js";

export class CompareView {
  // `chosen` remembers both inputs.
  constructor(model, chosen, changed) {
    this.model = model;
    const kind = kindOf(model), first = chosen.values[kind];
    const values = chosen.others[kind] ?? { ...first, ...say.others[kind](first) };
    this.form = new Form(model, "other", values, () => {
      chosen.others[kind] = this.form.values;
      changed();
    });
    if (kind === "text") this.form.element.querySelector("label").textContent = say.other;
    this.result = element("div");
    this.element = element("div", {}, this.form.element, this.result);
  }

  async update(input, signal) {
    const other = this.form.input;
    if (other === null) {
      this.result.replaceChildren(element("p", { class: "hint" }, say.empty));
      return;
    }
    const shown = this.model.vector_size !== null
      ? await cosine(this.model, input, other, signal)
      : [sideBySide(this.model, await predictions(this.model, [input, other], signal))];
    this.result.replaceChildren(...shown);
    this.repaint();
  }

  repaint() {
    repaint(this.result);
  }
}

async function cosine(model, a, b, signal) {
  const inputs = { source_sentence: a, sentences: [b] };
  const [value] = await ask("similarity", { model: model.name, inputs }, signal);
  const mark = element("span");
  mark.style.left = `${50 + 50 * Math.max(-1, Math.min(1, value))}%`;
  return [
    number(say.cosine, value),
    element("div", { class: "scale", "aria-hidden": "true" }, mark,
      ["−1", "0", "1"].map((text) => element("small", {}, text))),
    element("p", { class: "hint" }, say.cosineHint),
  ];
}

function sideBySide(model, answers) {
  return element("div", { class: "columns" }, answers.map((answer, index) => element("section", {},
    element("h2", {}, index ? say.second : say.first), show(model, answer))));
}
