"""A corpus of damaged and odd inputs, made by script, and the guarded process that reads them."""
