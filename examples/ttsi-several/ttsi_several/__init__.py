"""Two stages for ttsi that compare several candidates: sampled answers, and trained adapters."""
