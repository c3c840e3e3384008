"""ttsi: test-time self-improvement of LLM agents, as a plugin framework."""

__version__ = "0.1.0"
