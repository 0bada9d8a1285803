"""Tuners, one file each: what is trained, and how it is saved.

A tuner never trains: it changes the model in place, names the parameters to be
trained and, where it needs an embedding-tuned probe, declares it.  The pipeline
does the rest.
"""
