"""The arrays of the sample network, and how moments are counted in them."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

EPOCH: Final = date(1970, 1, 1)
MILLISECONDS_A_DAY: Final = 86_400_000
