"""Many videos: which they are, where each one's results go, and who works on them."""
