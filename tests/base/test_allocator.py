"""Memory that was given back is at hand: asking for it again makes no page fault."""

import subprocess
import sys

AGAIN = """
import resource
from plainformer.base.allocator import keep_memory
keep_memory()
def ask():
    bytearray(2**26)  # filled with zeros
ask()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    ask()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_was_given_once_is_at_hand() -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    if sys.platform == "linux":  # elsewhere nothing changes, and nothing fails
        assert int(done.stdout) < 2**26 / 4096, "not even the pages of one"
