"""Measurements of sync-notes as whole processes, beside yardsticks measured in the same run.

``python -m bench --help`` says what can be chosen; ``bench/README.rst`` how to read the results.
"""
