// Whatever scrolls sideways can be reached, and scrolled, with the keyboard.
function markScrolling() {
  document.querySelectorAll("pre, .table-wrapper, .formula, dt.sig").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
}
markScrolling();
addEventListener("resize", markScrolling);
document.addEventListener("toggle", markScrolling, true);
