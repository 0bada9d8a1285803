"""fairseq2 (0.8.1) as the trainer: ``engine=fairseq2``, and a recipe of its own.

``extension`` makes our tuners, optimizers, criteria, models and corpora known to fairseq2 by
name; ``engine`` hands a training to fairseq2's trainer; ``recipe`` is what
``python -m mt_lottery.fairseq2`` runs.  Nothing else of the package imports fairseq2.
"""
