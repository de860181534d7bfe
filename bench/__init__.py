"""The benchmark: `manage.py bench`. One file for each family of scenarios.

A figure is told only after the audit of its own run was clean. What is compared is measured in the
same run, in turns; a figure is the median of its repeats, with the lowest and the highest.
"""
