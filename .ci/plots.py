"""Draws the README's plot from a result of `sovits-live bench engine`.

python .ci/plots.py            write the SVG beside the result
python .ci/plots.py --check    exit 1 if the plot there is not of today's result
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # noqa: TID251  started by path, from anywhere

from bench import plots  # noqa: E402

RESULT = ROOT / "bench" / "results" / "engine-v2Pro.json"
PLOT = RESULT.with_suffix(".svg")
_TOKENS_PER_S = 25  # of speech; below it a session falls behind its listener


def draw(result: Mapping[str, Any]) -> str:
    """Return tokens a second over the sessions in a batch, and what they need."""
    made = [(step["batch"], step["tokens_per_s"]) for step in result["steps"]]
    needed = [
        (batch, _TOKENS_PER_S * batch)
        for batch, made_s in made
        if _TOKENS_PER_S * batch < 2 * made_s
    ]
    series = {"made (T2S alone)": made, "needed": needed}
    picture = plots.lines(series, "sessions at once", "tokens a second")
    head, tag, rest = picture.partition(">")
    return f'{head} font-family="sans-serif" font-size="12"{tag}{_background(head)}{rest}\n'


def _background(head: str) -> str:
    """Return a white ground, for pages that are dark."""
    width, height = head.partition('viewBox="0 0 ')[2].rstrip('"').split()
    return f'<rect width="{width}" height="{height}" fill="#ffffff"/>'


def main() -> str | None:
    """Do what the command line says; return what is wrong."""
    picture = draw(json.loads(RESULT.read_text(encoding="utf-8")))
    if "--check" not in sys.argv[1:]:
        PLOT.write_text(picture, encoding="utf-8")
    elif not PLOT.is_file() or PLOT.read_text(encoding="utf-8") != picture:
        return f"{PLOT.name} is not of today's result; run: python .ci/plots.py"
    return None


if __name__ == "__main__":
    sys.exit(main())
