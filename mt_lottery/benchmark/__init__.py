"""The benchmark over recipes, languages and seeds."""
