"""Run ttsi's contract tests for estimators and learners on the two installed plugins."""

from ttsi.testing import contract

test_semantic_entropy = contract("ttsi-several/semantic_entropy", samples=4)
test_semantic_entropy_by_likelihoods = contract(
    "ttsi-several/semantic_entropy", weights="likelihoods", format="tool_calls"
)
test_best_of = contract("ttsi-several/best_of", ranks=[2, 4], restarts=2)
test_best_of_as_answered = contract("ttsi-several/best_of", target="as_answered")
