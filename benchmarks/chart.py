"""Draws the comparison as `chart.svg`: CPU-seconds for 100,000 items, a bar each, on a logarithmic axis.

`python -m benchmarks.chart benchmarks/results/FILE.json`. The same figures give the same file, byte by byte.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib.backends.backend_svg import FigureCanvasSVG  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHART = Path(__file__).parent / "chart.svg"
_OURS, _FLOOR, _OTHERS = "#1f6feb", "#9aa4ae", "#d4843a"
_INCHES_A_BAR = 0.36


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the rows of the first size of item, grouped by job as they come."""
    shown = [one for one in results if one["item_bytes"] == results[0]["item_bytes"]]
    mpl.rcParams |= {"svg.hashsalt": "asyncrep", "svg.fonttype": "none", "font.size": 10}
    figure = Figure(figsize=(9, 1 + _INCHES_A_BAR * len(shown)), layout="constrained", facecolor="white")
    canvas = FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    names = [f"{one['label'].strip('*')}  ({one['job']})" for one in shown]
    values = [one["cpu_per_100k"] for one in shown]
    bars = axes.barh(range(len(shown)), values, color=[_colour(one) for one in shown], height=0.7)
    axes.bar_label(bars, labels=[f"{value:.2f}" for value in values], padding=4)
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 2.5)
    axes.xaxis.set_major_formatter("{x:g}")
    figure.suptitle(
        f"CPU-seconds for 100,000 items of {shown[0]['item_bytes']} bytes, logarithmic; less is better",
        fontsize=11,
    )
    axes.spines[["top", "right"]].set_visible(False)
    canvas.print_svg(path, metadata={"Date": None, "Creator": None})


def _colour(one: dict[str, Any]) -> str:
    if one["row"].startswith("floor"):
        return _FLOOR
    return _OURS if "asyncrep" in one["label"] else _OTHERS


def main() -> None:
    kept = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    draw(kept["results"], _CHART)


if __name__ == "__main__":
    main()
