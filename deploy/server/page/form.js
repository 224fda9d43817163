// The fields that a task reads, and the input that they make for the server.

import { element } from "./dom.js";
import { say } from "./text.js";

const FIELDS = {
  tagging: ["text"],
  embedding: ["text"],
  "sentence-embedding": ["text"],
  "question-answering": ["question", "context"],
  "multiple-choice": ["text", "options"],
  relation: ["text", "head", "tail"],
};
const OTHERS = ["text", "pair"];
// The kind of a task's fields: what is typed is kept for models whose fields are of one kind.
export const kindOf = ({ task }) => (FIELDS[task]?.length > 1 ? task : "text");

const SHORT = ["pair", "question", "head", "tail"];

// A fault of the input that is found here, before the server is asked.
export class Fault extends Error {}

export class Form {
  // `values` fill the fields; `changed` is called at each change.
  constructor(model, name, values, changed) {
    this.task = model.task;
    const fields = (FIELDS[model.task] ?? OTHERS).map((field) => {
      const id = `${name}-${field}`;
      const rows = SHORT.includes(field) ? 1 : field === "options" ? 3 : 2;
      const box = element("textarea", {
        id, rows, name: field, spellcheck: "false", autocomplete: "off", oninput: changed,
      });
      box.value = values[field] ?? "";
      const title = say.fields[field];
      return [field, box, field === "pair" ? optional(box, title)
        : element("div", { class: "field" }, element("label", { for: id }, title), box)];
    });
    this.boxes = Object.fromEntries(fields);
    this.element = element("div", { class: "fields" }, fields.map(([, , whole]) => whole));
  }

  get values() {
    return Object.fromEntries(
      Object.entries(this.boxes).map(([field, box]) => [field, box.value]));
  }

  // The input for the server; null where nothing is typed. Throws a Fault.
  get input() {
    const values = this.values;
    const first = values.text ?? values.context;
    if (!first.trim()) return null;
    if (this.task === "question-answering") return values;
    if (this.task === "multiple-choice") {
      const options = values.options.split("\n").map((one) => one.trim()).filter(Boolean);
      if (options.length < 2) throw new Fault(say.needsOptions);
      return { text: values.text, options };
    }
    if (this.task === "relation") {
      const [head, tail] = ["head", "tail"].map((name) => place(values.text, values[name].trim()));
      return { text: values.text, head, tail };
    }
    return values.pair?.trim() ? [values.text, values.pair] : values.text;
  }
}

// A field that is folded until it is wanted.
function optional(box, title) {
  box.setAttribute("aria-label", title);
  return element("details", { class: "field", open: box.value !== "" },
    element("summary", {}, title), box);
}

// The place of a part of a text in characters, as Python counts them. Throws a Fault.
function place(text, part) {
  const index = text.indexOf(part);
  if (!part || index < 0) throw new Fault(say.notInText(part));
  const start = Array.from(text.slice(0, index)).length;
  return [start, start + Array.from(part).length];
}
