"""Algorithm 1 over waves of tasks: the order, construction and costs of its stages."""
