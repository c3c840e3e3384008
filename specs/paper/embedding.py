"""Figure 5: where G's examples lie among the inputs of the benchmark.

    pip install 'ttsi[embed]'
    ttsi eval specs/paper/figure5.json
    python specs/paper/embedding.py runs/paper-figure5-HASH -o map.html

Name several runs to see them on one map, such as those of figure5 and figure5-teacher.
The inputs of the examples, of the uncertain samples that they were made from, and of other samples
are embedded by a sentence-transformers model and laid out by UMAP (15 neighbours, distance 0.1).
The page is one file that opens without a network. Beneath the map stands what the layout cannot
show faithfully: the mean cosine similarity of an example to its own seed and to other inputs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from ttsi.errors import MissingAsset, TtsiError, UsageError
from ttsi.results.runs import Run, open_run

MODEL = "sentence-transformers/all-mpnet-base-v2"
SEED, OTHER = "seed", "other"
FEWEST = 8
"""Points under which UMAP has nothing to lay out."""

WIDTH, HEIGHT, MARGIN = 640.0, 460.0, 14.0
LABELS = {
    OTHER: "other test inputs",
    SEED: "uncertain test inputs (seeds)",
    "self": "examples, model itself",
    "teacher": "examples, teacher",
}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --faint: #9a9a9a;
  --seed: #00785a; --g0: #0a62a8; --g1: #b8460e; --g2: #8a3b86; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #ececec; --paper: #161616;
  --faint: #808080; --seed: #3fc79c; --g0: #6ab4f0; --g1: #f39c63; --g2: #d59ad2; }} }}
body {{ margin: 1rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }}
svg {{ width: 100%; height: auto; border: 1px solid var(--faint); }}
h1 {{ font-size: 1.25rem; }} table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }}
ul {{ list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; }}
ul svg {{ width: 1rem; height: 1rem; border: 0; vertical-align: -0.15rem; }}
.other {{ fill: var(--faint); }} .seed {{ fill: none; stroke: var(--seed); stroke-width: 1.6; }}
.g0 {{ fill: var(--g0); }} .g1 {{ fill: var(--g1); }} .g2 {{ fill: var(--g2); }}
.link {{ stroke: var(--faint); stroke-width: 0.6; }}
</style></head><body>
<h1>{title}</h1>
<ul>{legend}</ul>
<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{title}">{drawing}</svg>
<p>{note}</p>
{table}
</body></html>
"""


@dataclass(frozen=True)
class Point:
    """An input: `kind` is other, seed, or the name of the generator; `sample` the test sample's id.

    An example's sample is the one that it was made from.
    """

    kind: str
    sample: str
    text: str


def collect(runs: Sequence[Run], others: int) -> list[Point]:
    """Every example of the runs, its seed, and `others` more inputs, spread over the benchmark.

    Raises UsageError where there is no example.
    """
    inputs = {id: sample.task.input for run in runs for id, sample in whole(run).samples.items()}
    examples = [
        Point(str(run.spec["generator"]["name"]), record.id, example.task.input)
        for run in runs
        for seed in run.seeds
        for record in seed.records
        for example in record.examples
    ]
    if not examples:
        raise UsageError(
            "These runs have no synthetic examples.",
            where=", ".join(str(run.folder) for run in runs),
            cure="Name runs that adapted something, such as those of specs/paper/figure5.json.",
        )
    seeds = dict.fromkeys(example.sample for example in examples)
    rest = [id for id in inputs if id not in seeds]
    kept = [rest[i * len(rest) // others] for i in range(others)] if others < len(rest) else rest
    return [
        *(Point(OTHER, id, inputs[id]) for id in kept),
        *(Point(SEED, id, inputs[id]) for id in seeds),
        *examples,
    ]


def whole(run: Run) -> Run:
    """The run as if it had asked all of its benchmark."""
    benchmark = dict(run.spec["benchmark"])
    everything = {option: None for option in ("limit", "ids") if option in benchmark}
    return replace(run, spec={**run.spec, "benchmark": benchmark | everything})


def embed(texts: Sequence[str], model: str) -> Any:
    """Unit vectors, a row for each text. Raises MissingAsset where packages or model are missing.

    A folder that holds a plain transformers model is wrapped with mean pooling.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise _no_package(error) from error
    try:
        encoder = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        raise MissingAsset(
            f"The embedding model {model!r} cannot be loaded: {_first_line(error)}",
            cure=f"hf download {model}, with a network, or --model FOLDER.",
        ) from error
    return encoder.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def project(vectors: Any, neighbours: int, distance: float, seed: int) -> Any:
    """UMAP's layout in the plane, a row for each vector. Raises UsageError for too few of them."""
    if len(vectors) < FEWEST:
        what = f"{len(vectors)} inputs are too few for a map; it takes {FEWEST}."
        raise UsageError(what, cure="Run more samples, or raise --others.")
    try:
        from umap import UMAP
    except ImportError as error:
        raise _no_package(error) from error
    near = min(neighbours, len(vectors) - 1)
    # A fixed random state makes UMAP single-threaded, and it warns unless it is told so.
    layout = UMAP(n_neighbors=near, min_dist=distance, random_state=seed, n_jobs=1)
    return layout.fit_transform(vectors)


def closeness(points: Sequence[Point], vectors: Any) -> dict[str, tuple[int, float, float]]:
    """Generator -> (examples, mean cosine to their own seeds, mean cosine to other test inputs)."""
    import numpy as np

    similar = np.asarray(vectors) @ np.asarray(vectors).T
    tests = {p.sample: place for place, p in enumerate(points) if p.kind in (SEED, OTHER)}
    found: dict[str, list[tuple[float, float]]] = {}
    for place, point in enumerate(points):
        if point.kind not in (SEED, OTHER):
            away = [where for id, where in tests.items() if id != point.sample]
            own = float(similar[place, tests[point.sample]])
            far = float(similar[place, away].mean()) if away else float("nan")
            found.setdefault(point.kind, []).append((own, far))
    return {
        kind: (len(pairs), *(sum(each) / len(pairs) for each in zip(*pairs, strict=True)))
        for kind, pairs in found.items()
    }


def page(
    points: Sequence[Point], layout: Any, near: dict[str, tuple[int, float, float]], model: str
) -> str:
    """The whole HTML page; `model` is told as what embedded the inputs."""
    kinds = list(dict.fromkeys(point.kind for point in points))
    style = {OTHER: OTHER, SEED: SEED}
    for kind in kinds:
        style.setdefault(kind, f"g{(len(style) - 2) % 3}")
    places = [_scaled(layout, row) for row in layout]
    seeds = {p.sample: place for p, place in zip(points, places, strict=True) if p.kind == SEED}
    links, marks = [], []
    for point, (x, y) in zip(points, places, strict=True):
        if point.kind not in (SEED, OTHER):
            to_x, to_y = seeds[point.sample]
            links.append(f'<path class="link" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"/>')
        tip = escape(f"{LABELS.get(point.kind, point.kind)}, {point.sample}: {point.text[:200]}")
        marks.append(_mark(style[point.kind], x, y, f"<title>{tip}</title>"))
    legend = "".join(
        f'<li><svg viewBox="-6 -6 12 12" aria-hidden="true">{_mark(style[kind], 0, 0)}</svg> '
        f"{escape(LABELS.get(kind, kind))} ({sum(p.kind == kind for p in points)})</li>"
        for kind in kinds
    )
    note = (
        f"Embedded by {escape(model)}, laid out by UMAP. A line joins an example to its seed. "
        "Near is alike; the axes have no meaning of their own."
    )
    return PAGE.format(
        title="G's examples among the benchmark's inputs",
        legend=legend,
        drawing="".join(links + marks),
        note=note,
        table=_table(near),
        width=WIDTH,
        height=HEIGHT,
    )


def _scaled(layout: Any, row: Any) -> tuple[float, float]:
    low, high = layout.min(axis=0), layout.max(axis=0)
    shares = [(row[i] - low[i]) / ((high[i] - low[i]) or 1.0) for i in (0, 1)]
    return (
        MARGIN + float(shares[0]) * (WIDTH - 2 * MARGIN),
        MARGIN + float(shares[1]) * (HEIGHT - 2 * MARGIN),
    )


def _mark(style: str, x: float, y: float, inside: str = "") -> str:
    """Each kind has a shape of its own, so that the map can be read without its colours."""
    shapes = {
        OTHER: "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z",
        SEED: "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "g0": "m0-4.5l4 7.5h-8z",
        "g1": "m-3.4-3.4h6.8v6.8h-6.8z",
        "g2": "m0-4.6l4.6 4.6-4.6 4.6-4.6-4.6z",
    }
    return f'<path class="{style}" d="M{x:.1f} {y:.1f}{shapes[style]}">{inside}</path>'


def _table(near: dict[str, tuple[int, float, float]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(LABELS.get(kind, kind))}</td><td>{count}</td>"
        f"<td>{own:.3f}</td><td>{far:.3f}</td></tr>"
        for kind, (count, own, far) in near.items()
    )
    head = "<th></th><th>examples</th><th>cosine to own seed</th><th>to other test inputs</th>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _no_package(error: ImportError) -> MissingAsset:
    return MissingAsset(f"needs the package {error.name!r}.", cure="pip install 'ttsi[embed]'")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders of `ttsi eval`")
    parser.add_argument("--model", default=MODEL, help=f"a Hub id or a folder (default: {MODEL})")
    parser.add_argument("-o", "--output", default="map.html", help="the page (default: map.html)")
    parser.add_argument("--neighbours", type=int, default=15, help="UMAP's n_neighbors")
    parser.add_argument("--distance", type=float, default=0.1, help="UMAP's min_dist")
    parser.add_argument("--seed", type=int, default=0, help="UMAP's random state")
    parser.add_argument("--others", type=int, default=300, help="most other inputs shown")
    args = parser.parse_args(argv)
    try:
        points = collect([open_run(run) for run in args.runs], args.others)
        vectors = embed([point.text for point in points], args.model)
        layout = project(vectors, args.neighbours, args.distance, args.seed)
        near = closeness(points, vectors)
        Path(args.output).write_text(page(points, layout, near, args.model), encoding="utf-8")
    except TtsiError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for kind, (count, own, far) in near.items():
        print(f"{kind}: {count} examples, cosine {own:.3f} to their seed, {far:.3f} to others")
    print(f"{args.output} written, {len(points)} inputs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
