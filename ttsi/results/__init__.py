"""What is made of records: measures, comparisons, calibration, scores and adapters made again."""
