"""Find every fault of a spec at once, by JSON pointer, in plain words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ttsi import registry
from ttsi._common.pointers import pointer
from ttsi.errors import PluginError, Problem, UsageError
from ttsi.spec.layering import Cell, Setting, cells, not_an_object, with_matrix, with_origin
from ttsi.spec.schema import COMPONENTS, DEFAULTS, skeleton
from ttsi.spec.wording import problems_of


class Check:
    """One pass over a document; with `benchmark` False it may name none.

    `problems` are faults of the spec. `broken` are the named plugins that cannot be loaded, each
    with its problem. `cells` are the documents to run, if there are neither.
    """

    def __init__(
        self, document: Any, fixed: Mapping[str, Setting], *, benchmark: bool = True
    ) -> None:
        self._skeleton = skeleton(benchmark=benchmark)
        self.broken: dict[Problem, PluginError] = {}
        self.cells: list[Cell] = []
        self._causes: dict[Problem, PluginError] = {}
        self._seen: dict[str, list[Problem]] = {}
        found: dict[Problem, None] = {}  # a dict, as a set that keeps the order
        if isinstance(document, dict):
            document = with_matrix(document, fixed)
            found |= dict.fromkeys(_matrix_faults(document))
            self.cells, faults = cells(document, fixed)
            found |= dict.fromkeys(faults)
        else:
            found[not_an_object(document)] = None
        for cell in self.cells:
            for problem in self._of_cell(cell.document):
                told = with_origin(problem, cell, fixed)
                if problem in self._causes:
                    self.broken[told] = self._causes[problem]
                else:
                    found[told] = None
        self.problems = list(found)

    def _of_cell(self, document: dict[str, Any]) -> list[Problem]:
        found = _faults(self._skeleton, document, "")
        for key in COMPONENTS:
            component = document.get(key, DEFAULTS.get(key))
            written = component.get("name") if isinstance(component, dict) else component
            if isinstance(written, str):
                found += self._of_component(key, component)
        return found

    def _of_component(self, key: str, component: Any) -> list[Problem]:
        # A grid's cells share most of their components.
        text = json.dumps([key, component], sort_keys=True)
        if text not in self._seen:
            self._seen[text] = self._look_at(key, component)
        return self._seen[text]

    def _look_at(self, key: str, component: Any) -> list[Problem]:
        kind, is_object = COMPONENTS[key], isinstance(component, dict)
        name = component["name"] if is_object else component
        place = pointer(key, "name") if is_object else pointer(key)
        try:
            schema = registry.options_schema(kind, name)
        except UsageError as error:
            message = f'there is no {key} "{name[:200]}".'
            return [Problem(place, message, error.cure)]
        except PluginError as error:
            problem = Problem(place, error.what, error.cure)
            self._causes[problem] = error
            return [problem]
        options = {k: v for k, v in component.items() if k != "name"} if is_object else {}
        return _faults(schema, options, pointer(key))


def _matrix_faults(document: dict[str, Any]) -> list[Problem]:
    schema = skeleton()["properties"]["matrix"]
    del schema["propertyNames"], schema["additionalProperties"]  # matrix.py words these better
    return _faults(schema, document["matrix"], "/matrix") if "matrix" in document else []


def _faults(schema: dict[str, Any], document: Any, base: str) -> list[Problem]:
    from jsonschema import Draft202012Validator, FormatChecker

    validator = Draft202012Validator(schema, format_checker=FormatChecker(["date"]))
    errors = validator.iter_errors(document)
    found = [problem for error in errors for problem in problems_of(error, base)]
    return list(dict.fromkeys(found))
