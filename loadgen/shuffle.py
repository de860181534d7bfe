"""A shuffled order of 0 .. n-1 without a list: memory grows with the square root of n.

A Feistel network over pairs of numbers below a, where a*a >= n. Its round functions are tables of
random numbers. A result outside of n goes through the network again, so every number comes exactly
once.
"""

import math
import random

ROUNDS = 4


class Shuffled:
    """A permutation of range(n), determined by its random source."""

    __slots__ = ("_side", "_tables", "n")

    def __init__(self, n: int, source: random.Random) -> None:
        """Takes ROUNDS * ceil(sqrt(n)) numbers from `source`. n >= 1."""
        self.n = n
        self._side = math.isqrt(n - 1) + 1
        # int(random() * side), not randrange: the same numbers in every version of Python.
        self._tables = tuple(
            [int(source.random() * self._side) for _ in range(self._side)] for _ in range(ROUNDS)
        )

    def __getitem__(self, index: int) -> int:
        """The number at this place, 0 <= index < n."""
        side = self._side
        f, g, h, k = self._tables
        while True:
            left, right = divmod(index, side)
            left = (left + f[right]) % side
            right = (right + g[left]) % side
            left = (left + h[right]) % side
            right = (right + k[left]) % side
            index = left * side + right
            if index < self.n:
                return index
