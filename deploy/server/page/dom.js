// Make elements. What people or models wrote becomes text, never markup.

// element("p", {class: "hint"}, "text", child): attributes that are false or null are left out,
// those that begin with "on" are listeners.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Let the arrow keys move among some buttons, of which one can be reached by Tab.
export function rove(buttons, chosen = 0) {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const hold = (index) => {
    buttons.forEach((button, i) => { button.tabIndex = i === index ? 0 : -1; });
  };
  hold(chosen);
  buttons.forEach((button, index) => {
    button.addEventListener("focus", () => hold(index));
    button.addEventListener("keydown", (event) => {
      const last = buttons.length - 1;
      const next = event.key === "Home" ? 0 : event.key === "End" ? last
        : event.key in steps ? (index + steps[event.key] + buttons.length) % buttons.length : null;
      if (next === null) return;
      event.preventDefault();
      buttons[next].focus();
    });
  });
}

// Rows of a name, a bar and a number: [{name, share, chosen}], shares between 0 and 1. A bar is
// full at the share `whole`.
export function bars(rows, whole = 1) {
  return element("ul", { class: "bars" }, rows.map(({ name, share, chosen }) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
    bar.firstChild.style.width = `${(100 * share) / whole}%`;
    return element("li", { class: chosen ? "chosen" : null },
      element("span", { class: "name" }, name), bar,
      element("span", { class: "number" }, percent(share)));
  }));
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Paint numbers between -1 and 1 on a canvas, a pixel each: the accent, and its opposite below 0.
export function paint(canvas, rows) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const style = getComputedStyle(document.documentElement);
  const [above, below] = ["--accent-rgb", "--below-rgb"].map(
    (name) => style.getPropertyValue(name).split(",").map(Number));
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, index) => {
    image.data.set([...(value < 0 ? below : above), 255 * Math.min(1, Math.abs(value))], 4 * index);
  });
  drawing.putImageData(image, 0, 0);
}
