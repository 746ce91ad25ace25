"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["backoff"]

_LARGEST_EXPONENT = 32


def backoff(attempts: int, *, base: float, cap: float, random: Callable[[], float]) -> float:
    """Choose the seconds before the next attempt: exponential, with full jitter.

    Full jitter spreads what failed together over the whole wait: M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015 (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        attempts: How many have failed, at least 1.
        base: Seconds that the first wait is below.
        cap: Seconds that no wait exceeds.
        random: Gives a number from 0 to 1.

    Example:
        >>> [backoff(attempts, base=1, cap=5, random=lambda: 0.5) for attempts in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 2.5]
    """
    return random() * min(cap, base * 2.0 ** min(attempts - 1, _LARGEST_EXPONENT))
