"""Write a run's table as CSV or Parquet, a row or a batch of rows at a time."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from ttsi._common.files import writing
from ttsi.errors import MissingAsset
from ttsi.results.table import COLUMNS, rows

BATCH = 1000
# What spreadsheets take for a formula: also full-width signs, and signs after white space.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# (name in Parquet, pandas' name of the kind, pandas' dtype that also holds missing values)
_TYPES = {
    "text": ("string", "unicode", "string"),
    "flag": ("bool", "bool", "boolean"),
    "count": ("int64", "int64", "Int64"),
    "number": ("float64", "float64", "Float64"),
}


def write_csv(run: Path, path: Path) -> None:
    """Write the table of `run` as CSV (RFC 4180, UTF-8).

    A text that a spreadsheet would calculate gets an apostrophe in front, and so does one that
    begins with an apostrophe: without its first apostrophe each text is again what it was.
    """
    with writing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            writer = csv.writer(text)
            writer.writerow(column.name for column in COLUMNS)
            for row in rows(run):
                writer.writerow(map(_plain, row))
        finally:
            text.detach()  # `writing` closes the file


def _plain(value: Any) -> Any:
    """Return what stands for a value in CSV, where None is an empty cell."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _harmless(value) if isinstance(value, str) else value


def _harmless(text: str) -> str:
    calculated = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if calculated or text.startswith("'") else text


def write_parquet(run: Path, path: Path) -> None:
    """Write the table of `run` as Parquet.

    Raises MissingAsset where pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        what = "Parquet needs the package pyarrow, which is not installed."
        raise MissingAsset(what, cure="pip install 'ttsi[export]', or --to csv")
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    fields = [
        pa.field(column.name, pa.type_for_alias(_TYPES[column.kind][0])) for column in COLUMNS
    ]
    schema = pa.schema(fields, metadata={"pandas": json.dumps(_for_pandas())})
    with writing(path) as file, ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows(run)):
            made = zip(*batch, strict=True)
            arrays = [pa.array(each, of.type) for each, of in zip(made, fields, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _batches(some: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while batch := list(islice(some, BATCH)):
        yield batch


def _for_pandas() -> dict[str, Any]:
    """Return pandas' own description of the columns, with the dtypes that hold missing values."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype}
        for name, (_, kind, dtype) in ((column.name, _TYPES[column.kind]) for column in COLUMNS)
    ]
    return {
        "index_columns": [],
        "column_indexes": [],
        "columns": [{**each, "metadata": None} for each in columns],
        "pandas_version": "3.0.0",
    }
