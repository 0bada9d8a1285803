"""What ``benchmarks/evidence.py`` consists of: the questions, their cells and results."""
