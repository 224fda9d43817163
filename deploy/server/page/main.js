// The page: a model, its input, and four views of what it computes.

import { ask, Refusal, useToken } from "./api.js";
import { AttentionView } from "./attention.js";
import { CompareView } from "./compare.js";
import { element, rove } from "./dom.js";
import { Fault, Form, kindOf } from "./form.js";
import { MaskView } from "./mask.js";
import { PredictView } from "./predict.js";
import { preferred, say, speak } from "./text.js";

const PAUSE = 300; // milliseconds after a key, before the server is asked
const PATIENCE = 400; // milliseconds after which the page says that it waits
const main = document.getElementById("main");

// What is chosen; it outlives a change of the language.
const chosen = { model: null, tab: null, values: {}, others: {}, layer: 0, head: 0 };
let models = [], guarded = false;
let form = null, view = null, panel = null, status = null;
let running = null, timer = null;

function build() {
  const model = models.find((one) => one.name === chosen.model);
  const kind = kindOf(model);
  const remember = () => { chosen.values[kind] = { ...chosen.values[kind], ...form.values }; };
  const values = chosen.values[kind] ?? say.examples[model.task] ?? say.examples.text;
  form = new Form(model, "input", values, () => {
    remember();
    later();
  });
  remember();
  status = element("p", { class: "status", role: "status" });
  panel = element("div", { id: "panel", role: "tabpanel", tabindex: "0" });
  main.replaceChildren(picker(model), form.element, tabs(model), panel, status);
  open(model, tabOf(model));
}

// The view that is chosen; at first, that for which the model was made.
function tabOf(model) {
  return chosen.tab ?? (isMaskedLM(model) ? "mask" : "predict");
}

function isMaskedLM(model) {
  return model.task === "embedding" && model.mask !== null;
}

function picker(model) {
  const select = element("select", { id: "model", onchange: () => choose(select.value) },
    models.map((one) => element("option", { selected: one === model }, one.name)));
  const named = isMaskedLM(model) ? { ...model, task: "masked-lm", vector_size: null } : model;
  return element("div", { class: "picker" },
    element("label", { for: "model" }, say.model), select,
    element("p", {}, say.about(named).filter(Boolean).join(" · ")));
}

function choose(name) {
  chosen.model = name;
  build();
  document.getElementById("model").focus();
}

function tabs(model) {
  const buttons = Object.entries(say.tabs).map(([name, title]) => element("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel",
    onclick: () => turnTo(model, name),
    onfocus: () => turnTo(model, name),
  }, name === "predict" && model.vector_size !== null ? say.vectorTab : title));
  rove(buttons, Object.keys(say.tabs).indexOf(tabOf(model)));
  return element("div", { role: "tablist", class: "tabs" }, buttons);
}

function turnTo(model, name) {
  if (tabOf(model) === name) return;
  chosen.tab = name;
  open(model, name);
}

function open(model, name) {
  for (const tab of main.querySelectorAll("[role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.id === `tab-${name}`));
  }
  panel.setAttribute("aria-labelledby", `tab-${name}`);
  view = {
    predict: () => new PredictView(model),
    attention: () => new AttentionView(model, chosen, run),
    mask: () => new MaskView(model, models, run, choose),
    compare: () => new CompareView(model, chosen, later),
  }[name]();
  panel.replaceChildren(view.element);
  run();
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(run, PAUSE);
}

// Let the view show what the server says of the input; an older question is given up.
async function run() {
  clearTimeout(timer);
  running?.abort();
  const mine = running = new AbortController();
  const patience = setTimeout(() => tell(say.computing), PATIENCE);
  let said = "", failed = false;
  try {
    const input = form.input;
    if (input === null) said = say.empty;
    else await view.update(input, mine.signal, form.values);
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    if (error.status === 401) {
      askToken(say.wrongToken);
      return;
    }
    if (!(error instanceof Refusal || error instanceof Fault)) throw error;
    [said, failed] = [error.message, true];
  } finally {
    clearTimeout(patience);
  }
  if (mine.signal.aborted) return;
  tell(said, failed);
  view.element.hidden = said !== "" && !(view instanceof CompareView);
}

function tell(text, failed = false) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

function askToken(problem = "") {
  guarded = true;
  foot();
  const box = element("input", {
    id: "token", type: "password", autocomplete: "off", required: true,
    "aria-describedby": "token-hint",
  });
  const said = element("p", { class: "status failed", role: "alert" }, problem);
  main.replaceChildren(element("form", {
    class: "token",
    onsubmit: (event) => {
      event.preventDefault();
      // A header holds nothing else.
      useToken(/^[\x20-\x7e]+$/.test(box.value) ? box.value : null);
      begin(say.wrongToken);
    },
  }, element("label", { for: "token" }, say.token),
  element("div", {}, box, element("button", { class: "plain" }, say.enter)),
  element("p", { id: "token-hint", class: "hint" }, say.tokenHint), said));
  box.focus();
}

// A link to what needs the token would lead nowhere.
function foot() {
  document.getElementById("footer").replaceChildren(element("p", {}, say.footer),
    guarded ? "" : element("p", {}, element("a", { href: "openapi.json" }, say.api)));
}

function translate() {
  const languages = document.getElementById("languages");
  languages.setAttribute("aria-label", say.language);
  for (const button of languages.children) {
    button.setAttribute("aria-pressed", String(button.lang === say.code));
  }
  foot();
  if (models.length) build();
  else begin();
}

async function begin(problem = "") {
  try {
    ({ models } = await ask("info"));
    chosen.model ??= models[0].name;
    build();
  } catch (error) {
    if (error.status === 401) askToken(problem);
    else if (error instanceof Refusal) {
      main.replaceChildren(element("p", { class: "status failed", role: "alert" }, error.message));
    } else throw error;
  }
}

for (const button of document.getElementById("languages").children) {
  button.addEventListener("click", () => {
    speak(button.lang);
    translate();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view?.repaint?.());
speak(preferred());
translate();
