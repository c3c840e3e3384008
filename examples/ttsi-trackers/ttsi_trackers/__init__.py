"""Hooks for ttsi that log runs to MLflow and trackio."""
