"""Requests that are drawn from the OpenAPI file: none of them makes the server fail."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

URL = "http://127.0.0.1:1"  # the fixture has the true one


@pytest.fixture
def described(url: str) -> Any:
    root = url.removesuffix("/v1")
    return schemathesis.openapi.from_url(f"{root}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case: Any, url: str) -> None:
    response = case.call(base_url=url.removesuffix("/v1"))
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.status_code != 404:
        assert response.json()["error"]["message"]
