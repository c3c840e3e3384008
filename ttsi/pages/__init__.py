"""Parts that reports and boards share: the page's frame, formatting of text, and plots."""
