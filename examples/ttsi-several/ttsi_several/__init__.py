"""Two stages for ttsi that look at several before they settle: answers, and adapters."""
