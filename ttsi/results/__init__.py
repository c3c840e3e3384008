"""Evaluations of records: metrics, comparisons, calibration, rescoring, remade adapters."""
