"""What reports and boards share: the page's frame, texts, and plots."""
