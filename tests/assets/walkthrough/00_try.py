# %% [markdown]
# # Trying
#
# Half of one is 50 %, and $\frac{1}{2}$ as a formula. See [the page](../docs/page.md).
#
# $$\sqrt{x} = x^{1/2}$$

# %% half
from guide import check, claim, panel, show, show_frames

half = 1 / 2
claim(100 * half, "50 %", within=1)
figure, axes = panel(4, 3)
axes.plot([0, half])
show(figure, "A line that rises to one half.")

# %% [markdown]
# ## Half
#
# The same, step by step.

# %% steps
show_frames([figure, figure], ["first", "second"], "The line, drawn twice.")

# %% [markdown]
# ## Exercises
#
# 1. Double it.


# %% exercise-1
def double(x: float) -> float:
    """Return 2 x."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    assert double(2) == 4


# %% [markdown]
# <details><summary>Hint</summary>Add `x` to itself.</details>


# %% solution-1
def double(x: float) -> float:
    """Return 2 x."""
    return x + x
