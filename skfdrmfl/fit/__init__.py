"""A fit from checked input to fitted result."""
