"""langchain-openai, held to LangChain's own standard tests of chat models."""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

TOO_SMALL = "what is asserted is what the model says, and one of 135M parameters says otherwise"


@pytest.fixture(autouse=True, scope="module")
def _address(url: str) -> None:
    os.environ["OPENAI_BASE_URL"] = url
    os.environ["OPENAI_API_KEY"] = "none"


class TestServed(ChatModelIntegrationTests):
    """The base model, which answers at once; that adapting changes no form is tested elsewhere."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "small:base", "temperature": 0, "max_retries": 0, "timeout": 300}

    @property
    def supports_json_mode(self) -> bool:
        return True
