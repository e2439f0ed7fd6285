"""The programs: ``conv`` for people, ``syncd`` for operators."""
