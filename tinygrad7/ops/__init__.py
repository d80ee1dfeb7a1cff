"""The ops, each with its forward function and derivative rules side by side."""
