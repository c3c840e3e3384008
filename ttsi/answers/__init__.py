"""What an answer is: its forms."""
