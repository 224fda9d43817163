"use strict";

// The live page: a sentence → pieces → guesses for the hidden word, and the attention of a head.
//
// Everything shown follows from `state`; each change of it calls `update`, which runs the model, and
// `draw`, which shows what came out. Text enters the page as text alone, never as HTML.

const root = document.getElementById("live");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const words = JSON.parse(root.dataset.words);
const { vocabulary, layers, heads, longest } = livePage.facts;
const tokenizer = new WordPiece(vocabulary);
const idOf = (piece) => tokenizer.ids.get(piece);
const GUESSES = 5;
const FAINTEST = 0.02; // weights below it get no line

const state = {
  text: part("text").value,
  hidden: [], // places of words in the text: { start, end }
  layer: 0,
  head: 0, // within the layer
  chosen: null, // the position whose attention is shown alone; null: all
};
let network = null;
let shown = null; // what was computed last: { tokens, output }

// ---- what the model reads

// The tokens of the text: [CLS], its pieces with one [MASK] for each hidden word, [SEP].
function tokensOf(text, hidden) {
  const tokens = [];
  for (const piece of tokenizer.pieces(text)) {
    const last = tokens.at(-1);
    const isHidden = hidden.some(({ start, end }) => start <= piece.start && piece.start < end);
    if (isHidden && last?.isMask && last.word === piece.word) {
      last.end = piece.end;
      last.was.push(piece.id);
    } else if (isHidden) {
      const mask = { piece: "[MASK]", id: idOf("[MASK]"), isMask: true, was: [piece.id] };
      tokens.push({ ...piece, ...mask });
    } else {
      tokens.push({ ...piece, isMask: piece.piece === "[MASK]" });
    }
  }
  const ends = { start: 0, end: 0, word: -1, isMask: false };
  return [
    { ...ends, piece: "[CLS]", id: idOf("[CLS]") },
    ...tokens.slice(0, longest - 2),
    { ...ends, piece: "[SEP]", id: idOf("[SEP]") },
  ];
}

// The hidden places after the text was edited: those outside the edit stay, and move with it.
function moved(places, before, after) {
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < most - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const change = after.length - before.length;
  return places.flatMap(({ start, end }) => {
    if (end <= head) return [{ start, end }];
    if (start >= before.length - tail) return [{ start: start + change, end: end + change }];
    return [];
  });
}

// ---- compute, then draw; while the model runs, the newest change waits

let isRunning = false;
let isStale = false;

async function update() {
  isStale = true;
  if (isRunning || !network) return;
  isRunning = true;
  while (isStale) {
    isStale = false;
    const tokens = tokensOf(state.text, state.hidden);
    const output = await network.run(tokens.map(({ id }) => id));
    if (!shown) beginWith(sharpest(output));
    shown = { tokens, output };
    if (state.chosen !== null && state.chosen >= tokens.length) state.chosen = null;
    draw();
  }
  isRunning = false;
}

function draw() {
  drawSentence();
  drawGuesses();
  drawHeads();
  drawAttention();
  root.dataset.runs = Number(root.dataset.runs ?? 0) + 1;
}

// ---- the sentence, a button for each piece

function drawSentence() {
  const pieces = shown.tokens.slice(1, -1);
  const buttons = fill(part("pieces"), pieces.length, "button");
  pieces.forEach((token, index) => {
    const button = buttons[index];
    button.type = "button";
    button.textContent = token.piece;
    button.classList.toggle("continues", token.piece.startsWith("##"));
    button.setAttribute("aria-pressed", token.isMask);
    button.disabled = token.isMask && !token.was; // typed as [MASK]: nothing is hidden behind it
    button.onclick = () => hide(token, index + 1);
  });
  rove(part("pieces"));
  const end = pieces.at(-1)?.end ?? Infinity; // of what the model reads
  part("long").hidden = tokenizer.pieces(state.text).every(({ start }) => start < end);
  part("unknown").hidden = !pieces.some(({ piece }) => piece === "[UNK]");
}

// Hide the word of a token, or show it again.
function hide(token, position) {
  if (token.isMask) {
    state.hidden = state.hidden.filter(({ start }) => start !== token.start);
  } else {
    const ofWord = shown.tokens.filter(({ word }) => word === token.word);
    state.hidden.push({ start: ofWord[0].start, end: ofWord.at(-1).end });
    state.chosen = shown.tokens.indexOf(ofWord[0]);
  }
  if (token.isMask && state.chosen === position) state.chosen = null;
  update();
}

// ---- the five best guesses for each mask

function drawGuesses() {
  const { tokens, output } = shown;
  const masks = tokens.flatMap((token, position) => (token.isMask ? [{ token, position }] : []));
  part("no-mask").hidden = masks.length > 0;
  const boxes = fill(part("guesses"), masks.length, "li");
  masks.forEach(({ token, position }, index) => {
    const shares = output.probabilities(position);
    const order = [...shares.keys()].sort((one, other) => shares[other] - shares[one]);
    const [title, list] = fill(boxes[index], 2, "div");
    title.className = "asked";
    title.textContent = whatWasHidden(token, shares, order);
    list.className = "best";
    const buttons = fill(list, GUESSES, "button");
    order.slice(0, GUESSES).forEach((id, rank) => {
      const button = buttons[rank];
      const [bar, name, share] = fill(button, 3, "span");
      bar.className = "bar";
      bar.style.width = percent(shares[id]);
      name.className = "name";
      name.textContent = vocabulary[id];
      share.className = "share";
      share.textContent = percent(shares[id]);
      button.type = "button";
      button.classList.toggle("right", token.was?.length === 1 && token.was[0] === id);
      button.title = words.put;
      button.onclick = () => put(token, vocabulary[id]);
    });
  });
}

function whatWasHidden(token, shares, order) {
  if (!token.was) return "";
  const word = state.text.slice(token.start, token.end);
  if (token.was.length > 1) return say(words.several, { word });
  const [id] = token.was;
  const rank = order.indexOf(id) + 1;
  return say(words.was, { word, rank: rank.toLocaleString(), share: percent(shares[id]) });
}

// Put a guess into the text, in place of the hidden word.
function put(token, piece) {
  const continues = piece.startsWith("##");
  const before = state.text.slice(0, token.start);
  const start = continues ? before.trimEnd() : before;
  edit(start + piece.replace(/^##/, "") + state.text.slice(token.end));
  part("text").value = state.text;
}

// ---- attention

// A small heat map for each head, as the label of its radio button.
function drawHeads() {
  const colour = getComputedStyle(part("heads")).color;
  part("heads").querySelectorAll("canvas").forEach((canvas, index) => {
    const rows = shown.output.attention(Math.floor(index / heads), index % heads);
    const size = canvas.width / rows.length;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = colour;
    rows.forEach((row, query) =>
      row.forEach((weight, key) => {
        context.globalAlpha = Math.sqrt(weight);
        context.fillRect(key * size, query * size, size, size);
      }),
    );
  });
}

// Queries on the left, keys on the right, a line for each weight.
function drawAttention() {
  const { tokens, output } = shown;
  const rows = output.attention(state.layer, state.head);
  const chosen = state.chosen;
  const queries = fill(part("queries"), tokens.length, "button");
  const keys = fill(part("keys"), tokens.length, "span");
  tokens.forEach(({ piece }, position) => {
    queries[position].type = "button";
    queries[position].textContent = piece;
    queries[position].setAttribute("aria-pressed", position === chosen);
    queries[position].onclick = () => choose(position === state.chosen ? null : position);
    const weight = chosen === null ? 0 : rows[chosen][position];
    const [bar, name, share] = fill(keys[position], 3, "span");
    bar.className = "bar";
    bar.style.width = percent(weight < 0.005 ? 0 : weight);
    name.textContent = piece;
    share.className = "share";
    share.textContent = chosen === null || weight < 0.005 ? "" : percent(weight);
  });
  rove(part("queries"));
  const lines = rows.flatMap((row, query) =>
    chosen === null || chosen === query
      ? [...row].flatMap((weight, key) => (weight < FAINTEST ? [] : [{ query, key, weight }]))
      : [],
  );
  part("lines").setAttribute("viewBox", `0 0 100 ${tokens.length}`);
  const paths = fill(part("lines"), lines.length, "path", "http://www.w3.org/2000/svg");
  lines.forEach(({ query, key, weight }, index) => {
    const [from, to] = [query + 0.5, key + 0.5];
    paths[index].setAttribute("d", `M0 ${from}C50 ${from} 50 ${to} 100 ${to}`);
    const opacity = chosen === null ? weight : Math.sqrt(weight); // the fewer lines, the bolder
    paths[index].setAttribute("stroke-opacity", opacity.toFixed(3));
  });
  const place = say(words.head, { layer: state.layer + 1, head: state.head + 1 });
  part("place").textContent = place;
  part("summary").textContent =
    chosen === null ? words.all : say(words.attends, { piece: tokens[chosen].piece });
}

function choose(position) {
  state.chosen = position;
  drawAttention();
}

// ---- small things

// Make an element have this many children, reusing those that it has: focus stays where it is.
function fill(parent, count, tag, namespace = "http://www.w3.org/1999/xhtml") {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) {
    parent.append(document.createElementNS(namespace, tag));
  }
  return [...parent.children];
}

// One stop of the tab key for a row of buttons; the arrow keys move within it.
function rove(row) {
  const buttons = [...row.children];
  const current = buttons.find((button) => button.tabIndex === 0 && !button.disabled) ?? buttons[0];
  for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
}

function moveFocus(event) {
  const buttons = [...event.currentTarget.children].filter((button) => !button.disabled);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  const next = buttons[(at + step + buttons.length) % buttons.length];
  for (const button of event.currentTarget.children) button.tabIndex = button === next ? 0 : -1;
  next.focus();
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`;
}

// A sentence with {names} in it.
function say(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function edit(text) {
  state.hidden = moved(state.hidden, state.text, text);
  state.text = text;
  update();
}

// A new sentence, with the word between asterisks hidden.
function take(example) {
  const [before, word, after] = example.split("*");
  state.text = part("text").value = before + word + after;
  state.hidden = [{ start: before.length, end: before.length + word.length }];
  const tokens = tokensOf(state.text, state.hidden);
  state.chosen = tokens.findIndex(({ isMask }) => isMask);
  update();
}

// The head whose queries look most at a single key: the first to be seen.
function sharpest(output) {
  const share = (head) => {
    const rows = output.attention(Math.floor(head / heads), head % heads);
    return rows.reduce((sum, row) => sum + Math.max(...row), 0);
  };
  return [...Array(layers * heads).keys()].reduce((best, head) =>
    share(head) > share(best) ? head : best,
  );
}

function beginWith(head) {
  part("heads").querySelectorAll("input")[head].checked = true;
  Object.assign(state, { layer: Math.floor(head / heads), head: head % heads });
}

function makeHeads() {
  const boxes = fill(part("heads"), layers * heads, "label");
  boxes.forEach((label, index) => {
    const [layer, head] = [Math.floor(index / heads), index % heads];
    const [radio] = fill(label, 1, "input");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 96;
    label.append(canvas);
    radio.type = "radio";
    radio.name = "head";
    radio.setAttribute("aria-label", say(words.head, { layer: layer + 1, head: head + 1 }));
    radio.onchange = () => {
      Object.assign(state, { layer, head });
      drawAttention();
    };
  });
  part("heads").style.setProperty("--heads", heads);
}

async function start() {
  makeHeads();
  part("text").oninput = (event) => edit(event.target.value);
  part("pieces").onkeydown = part("queries").onkeydown = moveFocus;
  part("examples").querySelectorAll("button").forEach((button) => {
    button.onclick = () => take(button.dataset.example);
  });
  const redraw = () => shown && drawHeads(); // a canvas keeps its colours
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-theme"] });
  try {
    network = await Network.load(livePage);
  } catch (fault) {
    part("loading").textContent = say(words.fault, { fault });
    throw fault;
  }
  part("loading").hidden = true;
  part("model").hidden = false;
  take(part("examples").querySelector("button").dataset.example);
}

start();
