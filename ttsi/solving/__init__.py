"""Algorithm 1 over waves of tasks, and what its stages are made of and cost."""
