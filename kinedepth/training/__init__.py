"""One small trainer, and a file for each model's data, loss and step."""
