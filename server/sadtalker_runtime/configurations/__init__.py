"""The variants of the model configurations; `make generate` writes them."""
