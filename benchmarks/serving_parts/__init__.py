"""The parts of ``benchmarks/serving.py``: servers, and what they are asked."""
