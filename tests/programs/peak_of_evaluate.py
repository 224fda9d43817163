"""Run `plainformer evaluate`, and print the peak of its resident memory in MiB.

python -m tests.programs.peak_of_evaluate RUN --data FILE --out FOLDER
"""

import re
import sys
from pathlib import Path

from plainformer.__main__ import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024 if peak else 0)
