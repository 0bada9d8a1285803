"""The front door in Python: what :mod:`mt_lottery` hands out, and the commands are made from."""
