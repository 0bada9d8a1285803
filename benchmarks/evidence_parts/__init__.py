"""What ``benchmarks/evidence.py`` consists of: the questions, their cells, results and tables."""
