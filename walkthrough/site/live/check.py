"""Use the live page in a browser as a reader does: type, hide words, choose heads and pieces."""

from collections.abc import Callable, Iterator

from playwright.sync_api import Locator, Page


def check_live(page: Page) -> Iterator[str]:
    """Iterate over what does not work in an open page; a page without the model has no faults."""
    if page.locator("#live").count() == 0:
        return
    text, pieces = page.locator("#live-text"), _part(page, "pieces").locator("button")

    def changes(act: Callable[[], None], *parts: str) -> list[str]:
        """Return those of the parts that an act leaves as they are."""
        before, runs = [_state(page, part) for part in parts], _runs(page)
        act()
        page.wait_for_function(
            "([runs]) => document.getElementById('live').dataset.runs > runs", arg=[runs]
        )
        return [part for part, was in zip(parts, before, strict=True) if _state(page, part) == was]

    for part in changes(lambda: text.fill("The old woman reads a book."), "pieces", "heads"):
        yield f"typing does not change {part}"
    while (mask := pieces.and_(page.locator("[aria-pressed=true]"))).count():
        changes(mask.first.click)
    if _guesses(page):
        yield "there are guesses, and nothing is hidden"
    pieces.first.focus()
    page.keyboard.press("ArrowRight")
    for part in changes(lambda: page.keyboard.press("Enter"), "pieces", "guesses", "keys", "heads"):
        yield f"hiding a word does not change {part}"
    if page.evaluate("document.activeElement.textContent") != "[MASK]":
        yield "the focus is lost when a word is hidden"
    if len(_guesses(page)) != 5:
        yield f"{len(_guesses(page))} guesses, not 5"
    for part in changes(lambda: text.press_sequentially(" It rains."), "guesses", "heads"):
        yield f"a changed context does not change {part}"
    if len(_guesses(page)) != 5:
        yield "the hidden word is lost when other words are typed"
        return
    yield from _check_attention(page)
    first = _part(page, "guesses").locator("button").first
    guess = first.locator(".name").inner_text().removeprefix("##")
    changes(first.click)
    if guess not in text.input_value():
        yield f"the guess {guess!r} is not put into the sentence"
    changes(lambda: text.fill("<img src=x onerror=alert(1)> &amp; 😀 我"))
    if page.locator("#live img").count():
        yield "text becomes HTML"
    changes(lambda: text.fill(""))
    changes(page.locator("#live .examples button").first.click)
    if len(_guesses(page)) != 5:
        yield "an example has no hidden word"


def _check_attention(page: Page) -> Iterator[str]:
    """Iterate over the faults of the choice of heads and pieces."""
    before = _state(page, "keys")
    page.locator("#live .heads input:checked").focus()
    page.keyboard.press("ArrowRight")
    if _state(page, "keys") == before:
        yield "another head has the same attention"
    queries = _part(page, "queries").locator("button")
    shares = _part(page, "keys").locator(".share")
    for _ in range(2):  # the first press may show all pieces
        queries.nth(1).focus()
        page.keyboard.press("Enter")
        if queries.nth(1).get_attribute("aria-pressed") == "true":
            break
    total = sum(float(share.rstrip("%") or 0) for share in shares.all_inner_texts())
    if not 90 < total < 110:
        yield f"the weights of a piece add up to {total:.0f}%"


def _part(page: Page, name: str) -> Locator:
    return page.locator(f"#live [data-part={name}]")


def _runs(page: Page) -> int:
    return int(page.locator("#live").get_attribute("data-runs") or 0)


def _guesses(page: Page) -> list[str]:
    return _part(page, "guesses").locator("button").all_inner_texts()


def _state(page: Page, part: str) -> str:
    """Return what a part of the page shows: its elements, and the pixels of its canvases."""
    state: str = _part(page, part).evaluate(
        "part => part.innerHTML + [...part.querySelectorAll('canvas')].map(c => c.toDataURL())"
    )
    return state
