"""Memory that was given back is at hand in training, and goes back to the system in a server."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing changes")

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

CUT_UP = """
import os, random, sys
from plainformer.base.allocator import keep_memory, return_memory, trim_memory
keep_memory()
if sys.argv[1] == "return":
    return_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
small = []
for number in range(40):  # large blocks, with small ones that stay between them
    large = [bytearray(random.Random(number).randrange(2**22, 2**24)) for _ in range(4)]
    small.append(bytearray(100_000))
    del large
trim_memory() if sys.argv[1] == "trim" else None
print(resident() - before)
"""


def run(program: str, *arguments: str) -> int:
    command = [sys.executable, "-c", program, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_what_was_given_once_is_at_hand() -> None:
    assert run(AGAIN) < 2**26 / 4096, "not even the pages of one"


def test_what_a_server_frees_goes_back() -> None:
    kept, returned, trimmed = (run(CUT_UP, how) for how in ("keep", "return", "trim"))
    assert returned < 2**23 < 2**24 < kept and trimmed < 2**23
