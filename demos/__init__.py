"""Programs that show what tinygrad7 does: ``python -m demos`` lists them."""
