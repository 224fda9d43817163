"""Let short texts of like length share the kernels that oneDNN compiles for a number of rows.

Compiling those of a layer takes as long as computing a short text, and each takes half a megabyte,
so a server limits their number (`base.allocator`). With rows of zeros, appended up to a multiple of
8, there are 16 numbers of rows up to 128.
"""

import os

from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

KEEPS_FEW_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY" in os.environ
"""The presence of a limit on the compiled kernels that this process keeps."""
MOST_SHARED, SHARED = 128, 8
"""The largest number of rows that is rounded up, and the multiple to which it is."""


def share_kernel(x: Shaped[Tensor, "rows columns"]) -> Shaped[Tensor, "more columns"]:
    """Append rows of zeros to the tokens of short texts, where few kernels are kept."""
    missing = -len(x) % SHARED
    if not KEEPS_FEW_KERNELS or not missing or len(x) > MOST_SHARED:
        return x
    return F.pad(x, (0, 0, 0, missing))
