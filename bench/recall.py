"""How fast memory is found among many rows, and how often what answers a question is found.

    .venv/bin/python -m bench.recall speed [--rows 1000 10000 50000] [--vectors uniform]
    .venv/bin/python -m bench.recall quality LOCOMO.json [--layout plain] [--together]

`speed` fills one brain up to each size with vectors of 1536 numbers and searches it by words and
vector, in the store's reader threads, as `POST /memory/episodes/search` does. In the same run
stands plain sqlite-vec: a vec0 table of the same vectors, searched by vector alone, exactly and by
bits with the best rescored. Recall is that of ten neighbours against exact brute force.

`quality` starts an Engine, writes every turn of LoCoMo's conversations as one episode over HTTP,
and asks the conversations' questions over HTTP: the share of a question's evidence turns among
the first five and ten, averaged over all questions that have any. LoCoMo (CC BY-NC 4.0) is for
measuring only, and no part of this project.
"""

import argparse
from pathlib import Path

from bench.recall_quality import LAYOUTS, quality
from bench.recall_speed import SHAPES, speed


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    fast = kinds.add_parser("speed", help="time, recall of the codes, insert rate")
    fast.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 50_000, 100_000])
    fast.add_argument("--vectors", choices=SHAPES, default="topics")
    good = kinds.add_parser("quality", help="recall of evidence turns on LoCoMo")
    good.add_argument("file", type=Path)
    good.add_argument("--layout", choices=LAYOUTS, default="plain", help="a turn as an episode")
    good.add_argument("--together", action="store_true", help="all conversations in one brain")
    chosen = parser.parse_args()
    if chosen.kind == "speed":
        speed(sorted(chosen.rows), chosen.vectors)
    else:
        quality(chosen.file, chosen.layout, together=chosen.together)


if __name__ == "__main__":
    main()
