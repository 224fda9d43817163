// Go through the words of each explanation with the arrow keys, or by a click, and say what each
// counts. Tab goes from text to text; without this script the colours and the tables are there.
"use strict";

const texts = [...document.querySelectorAll("[role=listbox]")];

texts.forEach((text, number) => {
  const words = [...text.querySelectorAll("[role=option]")];
  const said = text.closest("article").querySelector(".said");
  let chosen = -1;

  function choose(place) {
    const next = Math.max(0, Math.min(place, words.length - 1));
    words[chosen]?.setAttribute("aria-selected", "false");
    words[next].setAttribute("aria-selected", "true");
    text.setAttribute("aria-activedescendant", words[next].id);
    said.textContent = `${words[next].textContent}: ${words[next].title}`;
    chosen = next;
  }

  text.addEventListener("keydown", (event) => {
    const forward = getComputedStyle(text).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const moves = { Home: 0, End: words.length, ArrowLeft: chosen - 1, ArrowRight: chosen - 1 };
    moves[forward] = chosen + 1;
    const other = { ArrowUp: texts[number - 1], ArrowDown: texts[number + 1] };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in moves && words.length) choose(moves[event.key]);
    else if (event.key in other) other[event.key]?.focus();
    else return;
    event.preventDefault();
  });
  text.addEventListener("focus", () => words.length && choose(Math.max(chosen, 0)));
  words.forEach((word, place) => word.addEventListener("click", () => choose(place)));
});
