"use strict";
// Heads as small maps; of the chosen one a map and lines between its words. What users wrote becomes
// text, never markup.

const FAINT = 0.02; // weights below it have no line
const NAMED = 3; // words that the sentence about a word names
const { layers, heads, names, sequences } = JSON.parse(document.getElementById("data").textContent);
const chosen = { sequence: 0, between: "words", layer: 0, head: 0 };
const [LEFT, RIGHT, UP, DOWN] = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat());
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// The words of the chosen sequence, or its tokens, each with the positions of its tokens.
function units() {
  const { tokens, words, spellings, special } = sequences[chosen.sequence];
  return chosen.between === "words"
    ? words.map((places, i) => ({ text: spellings[i], special: special[places[0]], places }))
    : tokens.map((text, i) => ({ text, special: special[i], places: [i] }));
}

// Weights of all heads of a sequence, of 16 bits each: layers × heads × tokens × tokens.
function decoded(sequence) {
  sequence.numbers ??= new Uint16Array(
    Uint8Array.from(atob(sequence.weights), (byte) => byte.charCodeAt(0)).buffer);
  return sequence.numbers;
}

// Weights between words: the mean over the tokens that look of the sum over those looked at.
function matrix(layer, head, rows) {
  const sequence = sequences[chosen.sequence];
  const n = sequence.tokens.length;
  const start = (layer * heads + head) * n * n;
  const all = decoded(sequence).subarray(start, start + n * n);
  return rows.map((from) => rows.map((to) => {
    let sum = 0;
    for (const i of from.places) for (const j of to.places) sum += all[i * n + j];
    return sum / from.places.length / 65535;
  }));
}

// A pixel a weight; square roots, so that small ones are seen, too.
function paint(canvas, weights) {
  canvas.width = canvas.height = weights.length;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--accent").split(",");
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(canvas.width, canvas.height);
  weights.flat().forEach((weight, index) => {
    image.data.set([...colour.map(Number), 255 * Math.sqrt(weight)], 4 * index);
  });
  drawing.putImageData(image, 0, 0);
}

// Let keys move among buttons of which one can be reached by Tab: `steps` says by how many.
function rove(buttons, steps, start = 0) {
  const hold = (index) => buttons.forEach((one, i) => { one.tabIndex = i === index ? 0 : -1; });
  hold(start);
  buttons.forEach((button, index) => {
    button.addEventListener("focus", () => hold(index));
    button.addEventListener("keydown", (event) => {
      const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1
        : index + (steps[event.key] ?? NaN);
      if (!buttons[next]) return;
      event.preventDefault();
      buttons[next].focus();
    });
  });
}

// All heads: a row a layer.

const maps = [];

function buildHeads() {
  const grid = document.getElementById("heads");
  grid.style.setProperty("--heads", heads);
  for (let layer = 0; layer < layers; layer++) {
    grid.append(element("span", { "aria-hidden": "true" }, `${layer + 1}`));
    for (let head = 0; head < heads; head++) {
      const choose = () => {
        Object.assign(chosen, { layer, head });
        showHead();
      };
      const button = element("button", {
        type: "button", "aria-label": `Layer ${layer + 1}, head ${head + 1}`, "aria-pressed": "false",
        onclick: choose, onfocus: choose,
      }, element("canvas", { "aria-hidden": "true" }));
      maps.push(button);
      grid.append(button);
    }
  }
  rove(maps, { [LEFT]: -1, [RIGHT]: 1, [UP]: -heads, [DOWN]: heads });
}

function paintHeads() {
  const rows = units();
  maps.forEach((button, index) =>
    paint(button.firstChild, matrix(Math.floor(index / heads), index % heads, rows)));
}

// The chosen head.

function showHead() {
  const { layer, head } = chosen;
  const number = layer * heads + head;
  maps.forEach((one, i) => one.setAttribute("aria-pressed", String(i === number)));
  const { statistics, tokens } = sequences[chosen.sequence];
  const rows = units();
  const summary = names.map((name, i) => {
    const value = statistics[i][number];
    const most = Math.log(tokens.length).toFixed(2);
    return element("div", {}, element("dt", {}, name),
      element("dd", {}, i ? percent(value) : `${value.toFixed(2)} of ${most}`));
  });
  document.getElementById("head").replaceChildren(
    element("h2", { id: "name" }, `Layer ${layer + 1}, head ${head + 1}`),
    element("dl", {}, summary), ...pictures(rows, matrix(layer, head, rows)));
}

// A sentence about a word, lines from each word to those it looks at, and the map.
function pictures(rows, weights) {
  const spelled = (row) => element("span", { class: row.special ? "special" : null }, row.text);
  const svg = shape("svg",
    { viewBox: `0 0 100 ${rows.length}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const paths = weights.map((row, i) => row.map((weight, j) => {
    if (weight < FAINT) return null;
    const [a, b] = [i + 0.5, j + 0.5];
    const path = shape("path", { d: `M0 ${a}C45 ${a} 55 ${b} 100 ${b}` });
    path.style.setProperty("--weight", weight);
    svg.append(path);
    return path;
  }));
  const from = rows.map((row) =>
    element("button", { type: "button", "aria-pressed": "false" }, spelled(row)));
  const to = rows.map((row) => element("li", {}, spelled(row), element("output")));
  const size = rows.length > 48 ? "crowd" : rows.length > 20 ? "many" : "";
  const lines = element("div", { class: `lines ${size}` },
    element("ol", { class: "from", "aria-label": "Words" },
      from.map((button) => element("li", {}, button))),
    svg, element("ol", { class: "to", "aria-hidden": "true" }, to));
  const down = rows.map((row) => element("li", {}, spelled(row)));
  const across = rows.map((row) => element("li", {}, spelled(row)));
  const canvas = element("canvas", { "aria-hidden": "true" });
  paint(canvas, weights);
  const map = element("div", { class: `map ${size}`, role: "group", tabindex: 0, "aria-label": "Map" },
    element("ol", { class: "across", "aria-hidden": "true" }, across),
    element("ol", { class: "down", "aria-hidden": "true" }, down), canvas);
  for (const one of [lines, map]) one.style.setProperty("--count", rows.length);

  const hint = "Choose a word to see where it looks.";
  const said = element("p", { class: "faint said", "aria-live": "polite" }, hint);
  let pinned = null;
  const look = (word) => {
    lines.classList.toggle("one", word !== null);
    paths.forEach((row, i) => row.forEach((path) => path?.classList.toggle("shown", i === word)));
    for (const list of [from, down]) {
      list.forEach((one, i) => one.classList.toggle("shown", i === word));
    }
    to.forEach((item, j) => {
      const weight = word === null ? 0 : weights[word][j];
      item.style.setProperty("--weight", weight);
      item.lastChild.textContent = weight < FAINT ? "" : percent(weight);
    });
    said.textContent = word === null ? hint : sentence(rows, weights[word], word);
  };
  from.forEach((button, word) => {
    const events = { mouseenter: word, focus: word, mouseleave: null, blur: null };
    for (const [event, at] of Object.entries(events)) {
      button.addEventListener(event, () => look(at ?? pinned));
    }
    button.addEventListener("click", () => {
      pinned = pinned === word ? null : word;
      from.forEach((other, i) => other.setAttribute("aria-pressed", String(i === pinned)));
      look(word);
    });
  });
  canvas.addEventListener("mousemove", (event) => {
    const row = Math.floor(event.offsetY / canvas.offsetHeight * rows.length);
    look(Math.max(0, Math.min(row, rows.length - 1)));
  });
  canvas.addEventListener("mouseleave", () => look(pinned));
  rove(from, { [LEFT]: -1, [UP]: -1, [RIGHT]: 1, [DOWN]: 1 });
  return [said, element("div", { class: "pictures" }, lines, map)];
}

function sentence(rows, weights, word) {
  const best = weights.map((weight, j) => [weight, rows[j].text]).sort((a, b) => b[0] - a[0]);
  const named = best.slice(0, NAMED).filter(([weight], place) => place === 0 || weight >= FAINT);
  const list = named.map(([weight, text]) => `${text} (${percent(weight)})`).join(", ");
  return `${rows[word].text} looks at ${list}.`;
}

// The choices above: one of the texts, words or tokens.

function buildChoices() {
  const redraw = () => {
    paintHeads();
    showHead();
  };
  const place = document.getElementById("choices");
  if (sequences.length > 1) {
    place.append(element("label", {}, "Text",
      element("select", {
        id: "text",
        onchange: (event) => {
          chosen.sequence = Number(event.target.value);
          redraw();
        },
      }, sequences.map(({ spellings, special, words }, i) => {
        const shown = spellings.filter((_, w) => !special[words[w][0]]).join(" ");
        return element("option", { value: i }, `${i + 1}: ${shown.slice(0, 80)}`);
      }))));
  }
  place.append(element("fieldset", { "aria-label": "Between" }, ["words", "tokens"].map((between) =>
    element("label", {}, element("input", {
      type: "radio", name: "between", value: between, checked: between === chosen.between,
      onchange: () => {
        chosen.between = between;
        redraw();
      },
    }), between))));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
}

buildHeads();
buildChoices();
