"""Compare the time to import Querywright with that of what it stands on, in pairs of fresh processes."""

import statistics
import subprocess
import sys
import time

BASE = "import sqlalchemy.orm, sqlalchemy.ext.asyncio, pydantic; pydantic.BaseModel"
PAIRS = 15


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
    return time.perf_counter() - started


if __name__ == "__main__":
    empty = statistics.median(seconds("") for _ in range(PAIRS))
    pairs = [(seconds(BASE) - empty, seconds("import querywright") - empty) for _ in range(PAIRS)]
    base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for other, one in pairs)
    print(f"base {base * 1000:.0f} ms, querywright {ours * 1000:.0f} ms, ratio {ratio:.2f}")
