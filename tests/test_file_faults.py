"""The benchmark `file`: messages for faulty rows, files and conversations."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from own_rows import (
    CITY,
    OPENAI_ROME,
    ROME,
    TALK,
    WEATHER,
    one,
    refused,
    row,
    written,
)

from ttsi.errors import (
    PluginError,
)
from ttsi_benchmarks.file import File


@pytest.mark.parametrize(
    ("changed", "what", "cure"),
    [
        ({"refrence": []}, 'unknown key "refrence"', 'Did you mean "reference"?'),
        ({"reference": None}, 'no "reference"', '"reference": [{"name"'),
        ({"input": None}, 'not one of "input" and "messages"', '"messages"'),
        ({"messages": TALK}, 'not one of "input" and "messages"', '"messages"'),
        ({"input": None, "messages": TALK, "instruction": "x"}, '"instruction" and', "system"),
        ({"input": "  "}, 'The "input" is no text', "string"),
        ({"id": ""}, 'The "id" is no text', "string"),
        ({"id": True}, 'The "id" is no text', "string"),
        ({"tools": None}, "offers no tools", "tools_path"),
        ({"tools": {}}, '"tools" is no list', '[{"name"'),
        ({"tools": [WEATHER, WEATHER]}, "'get_weather' is offered twice", "rename"),
        ({"tools": [{**WEATHER, "params": {}}]}, 'unknown key "params"', '"parameters"?'),
        ({"tools": [{**WEATHER, "name": " "}]}, "A tool's name is no text", "string"),
        ({"tools": [{"type": "web_search", "function": WEATHER}]}, "'web_search'", '"function"'),
        ({"tools": [{**WEATHER, "parameters": "city"}]}, "parameters that are none", "Schema"),
        ({"reference": {}}, "The reference is no list", "[]"),
        ({"reference": [{**ROME, "args": {}}]}, 'unknown key "args"', '"arguments"?'),
        ({"reference": [{**ROME, "arguments": "{city"}]}, "not JSON", '{"name"'),
        ({"reference": [{**ROME, "arguments": "[1]"}]}, "are no object", '{"name"'),
        ({"reference": [{**ROME, "arguments": '{"city": NaN}'}]}, "NaN", '{"name"'),
        ({"reference": [{**ROME, "arguments": '{"city": "\\ud800"}'}]}, "half of a", '{"name"'),
        ({"tools": [{**WEATHER, "parameters": []}]}, "parameters that are none", "Schema"),
        ({"tools": [{**WEATHER, "description": []}]}, "description that is no text", "Schema"),
        ({"reference": [{**ROME, "name": "get_wether"}]}, "not offered", '"get_weather"?'),
        ({"reference": [{**ROME, "arguments": {}}]}, "'city' is a required", '"strict": false'),
        ({"reference": [{**ROME, "arguments": {"city": 1}}]}, "city: 1 is not of type", '"strict"'),
        (
            {"reference": [{"name": "set_alarm", "allowed": {"hour": [7, -1]}}]},
            "-1 is less than the minimum",
            '"strict": false',
        ),
        (
            {"reference": [{"name": "set_alarm", "allowed": {"hour": [7]}, "optional": ["hour"]}]},
            "'hour' is a required",
            '"strict": false',
        ),
        ({"reference": [{"name": "f", "allowed": {"hour": 7}}]}, "lists of values", '["Rome"'),
        ({"reference": [{**ROME, "allowed": {"city": ["Rome"]}}]}, '"arguments" and', "one"),
        (
            {"reference": [{"name": "f", "allowed": {"a": [1]}, "optional": ["b"]}]},
            '"optional"',
            '"optional": ["unit"]',
        ),
        ({"choices": ["a", "b"]}, "the form 'calls' has none", '"form": "choice"'),
    ],
)
def test_a_faulty_row_is_told_of_with_its_line_and_a_cure(
    changed: dict[str, Any], what: str, cure: str, tmp_path: Path
) -> None:
    error = refused(written(tmp_path, row(), row(**changed)))
    assert what in error.what
    assert error.where.startswith(f"{tmp_path}/my.jsonl, line 2")
    assert cure in error.cure


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "no list, or an empty one"),
        ([{"role": "bot", "content": "x"}], "the role 'bot'"),
        ([{"role": "user", "content": "x", "contnet": ""}], '"contnet"'),
        ([{"role": "user"}], "The content is no text"),
        ([{"role": "user", "content": {"text": "x"}}], "neither a text nor parts"),
        ([TALK[1], {"role": "assistant", "content": "x", "tool_calls": {}}], "no list of calls"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "parts of text: 'image_url'"),
        ([{"role": "user", "content": "x", "tool_calls": [OPENAI_ROME]}], "Only the assistant"),
        ([*TALK[1:], TALK[0]], "not the first"),
        (TALK[:1], "no message of a user"),
        (TALK[:3], "ends with the assistant"),
        ([*TALK[:2], {"role": "assistant"}, *TALK[3:]], "The content is no text"),
        ([{"role": "user", "content": "x", "audio": {"id": 1}}], 'under "audio"'),
    ],
)
def test_a_faulty_conversation_is_told_of(messages: Any, what: str, tmp_path: Path) -> None:
    error = refused(written(tmp_path, row(input=None, messages=messages)))
    assert what in error.what
    assert error.where.startswith(f"{tmp_path}/my.jsonl, line 1")
    assert error.cure


@pytest.mark.parametrize(
    ("data", "what", "cure"),
    [
        (b"", "no rows", '"reference"'),
        (b"\n \r\n", "no rows", '"reference"'),
        (b'{"input": "caf\xe9"}\n', "not UTF-8", "iconv -f windows-1252"),
        ("{}\n".encode("utf-16"), "not UTF-8", "iconv -f utf-16"),
        (b'{"input": \n', "not JSON", "jq -c"),
        (b'[{"input": "x"}]\n', "no object", "jq -c"),
        (b'{"input": "x", "input": "y"}\n', 'has the key "input" twice', "one object"),
        (b'{"reference": [{"a": {"b": 1, "b": 2}}]}\n', 'has the key "b" twice', "one object"),
        (b'{"reference": NaN}\n', "NaN", "one object"),
        (b'{"reference": 1e999}\n', "an infinity", "one object"),
        (b'{"input": "\\ud800"}\n', "half of a character", "one object"),
        (b'{"reference": ' + b"[" * 70 + b"]" * 70 + b"}\n", "nested deeper", "one object"),
        (b'{"reference": ' + b"[" * 200_000 + b"\n", "nested deeper", "one object"),
        (gzip.compress(b"{}\n", mtime=0)[:-9], "damaged", "gzip -t"),
    ],
)
def test_a_file_that_is_no_json_lines(data: bytes, what: str, cure: str, tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_bytes(data)
    error = refused(str(path))
    assert what in error.what
    assert error.where.startswith(str(path))
    assert cure in error.cure


def test_a_path_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert "a folder" in refused(".").what
    assert "more than once" in refused("pipe").what
    missing = refused("mine.jsonl")
    assert "no file mine.jsonl" in missing.what
    assert f"the current folder, {tmp_path}." in missing.cure
    written(tmp_path, row())
    assert len(File(path="my.jsonl").samples()) == 1


def test_every_line_with_a_fault_is_named(tmp_path: Path) -> None:
    rows = [row(), row(reference=None), row(), *[row(id="twice")] * 3]
    error = refused(written(tmp_path, *rows))
    assert error.where.endswith("line 2")
    assert error.what == 'The row has no "reference". Also faulty: lines 5, 6.'
    again = refused(written(tmp_path, *rows[3:]))
    assert "'twice' is there twice: here and on line 1" in again.what


def test_parameters_that_cannot_be_used_are_an_error_of_their_line(tmp_path: Path) -> None:
    bad = {**WEATHER, "parameters": {**CITY, "properties": {"city": {"not": {}}}}}
    error = refused(written(tmp_path, row(), row(tools=[bad], reference=[])))
    assert isinstance(error, PluginError)
    assert "line 2, tool 'get_weather', parameters, #/properties/city" in error.where


def test_references_that_tools_do_not_allow_are_kept_if_asked(tmp_path: Path) -> None:
    sample = one(tmp_path, {"strict": False}, reference=[{"name": "unknown"}])
    assert sample.reference.value == [{"name": "unknown", "arguments": {}}]


@pytest.mark.parametrize(
    ("form", "changed", "what"),
    [
        ("choice", {"reference": "maybe", "choices": ["yes", "no"]}, "none of the choices"),
        ("choice", {"reference": "yes", "choices": ["yes"]}, "two different texts"),
        ("choice", {"reference": "yes"}, "two different texts"),
        ("number", {"reference": "none"}, "no answer in the form 'number'"),
        ("number", {"reference": [8]}, "no answer in the form 'number'"),
    ],
)
def test_references_of_other_forms_are_held_to_them(
    form: str, changed: dict[str, Any], what: str, tmp_path: Path
) -> None:
    error = refused(written(tmp_path, row(tools=None, **changed)), form=form)
    assert what in error.what
    assert error.where.endswith("line 1")
