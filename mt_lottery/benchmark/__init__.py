"""The benchmark over methods, languages and seeds."""
