"""Draw what the benchmarks have saved: python -m benchmarks.charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import FOLDER, load

COLOURS = {"Querywright": "#0b6e4f", "SQLAlchemy + Pydantic": "#b0413e"}
OTHER = "#8a8d91"
WIDTH = 9.0
DPI = 110


def growth(figures: Any) -> Figure:
    """Draw four line charts: by depth and by rows, near the database and 1 ms away from it."""
    figure = Figure(figsize=(WIDTH, 6.5))
    axes = figure.subplots(2, 2, sharey="row")
    for row, (key, label) in enumerate({"depth": "levels", "width": "root rows (3 levels)"}.items()):
        for column, (suffix, where) in enumerate({"": "same machine", "_far": "1 ms away, each direction"}.items()):
            axis = axes[row][column]
            axis.set(xlabel=label, title=where, yscale="log", xscale="log" if key == "width" else "linear")
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter("{x:,g}")  # 100, not 10 to the power of 2
            _lines(axis, figures[key + suffix])
            if column == 0:
                axis.set_ylabel("milliseconds")
    axes[0][0].legend(frameon=False)
    return figure


def _lines(axis: Axes, figures: Any) -> None:
    steps = [int(step) for step in figures]
    for name, colour in COLOURS.items():
        axis.plot(steps, [one[name]["wall"] * 1000 for one in figures.values()], marker="o", color=colour, label=name)
    if len(steps) == max(steps):
        axis.set_xticks(steps)
    axis.grid(alpha=0.25, which="both")


def jobs(figures: Any) -> Figure:
    """Draw the time of each contender on PostgreSQL, one panel for each job."""
    titles = {"nested": "50 x 20 x 5 nested", "flat": "1,000 flat rows", "by_key": "one row by key"}
    figure = Figure(figsize=(WIDTH * 1.3, 4.2))
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (job, title) in zip(axes, titles.items(), strict=True):
        _bars(axis, {name: one["wall"] * 1000 for name, one in figures["postgresql"][job].items()})
        axis.set(title=title, xlabel="milliseconds")
    axes[0].invert_yaxis()
    return figure


def web(figures: Any) -> Figure:
    """Draw requests per second over HTTP."""
    titles = {"nested": "50 x 20 x 5 nested", "by_key": "one row by key"}
    figure = Figure(figsize=(WIDTH, 2.2))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (job, title) in zip(axes, titles.items(), strict=True):
        _bars(axis, {name: one["per_second"] for name, one in figures[job].items()})
        axis.set(title=title, xlabel="requests per second")
    axes[0].invert_yaxis()
    return figure


def _bars(axis: Axes, values: dict[str, float]) -> None:
    bars = axis.barh(list(values), list(values.values()), color=[_colour(name) for name in values])
    axis.bar_label(bars, labels=[_number(value) for value in values.values()], fontsize=8, padding=2)
    axis.margins(x=0.18)
    axis.spines[["top", "right"]].set_visible(False)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - three digits, and no exponent


def _colour(name: str) -> str:
    return next((colour for known, colour in COLOURS.items() if name.startswith(known)), OTHER)


CHARTS: dict[str, Callable[[Any], Figure]] = {"growth": growth, "jobs": jobs, "web": web}


def draw() -> list[str]:
    """Draw every chart whose figures are there; return their names."""
    drawn = []
    for name, chart in CHARTS.items():
        if (saved := load(name)) is None:
            continue
        figure = chart(saved["figures"])
        figure.tight_layout()
        # Without the version of matplotlib in the file, the same figures give the same file.
        figure.savefig(FOLDER / f"{name}.png", dpi=DPI, metadata={"Software": None})
        drawn.append(name)
    return drawn


if __name__ == "__main__":
    print("drawn:", *(f"{name}.png" for name in draw()))
