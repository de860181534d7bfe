"""The benchmark: `manage.py bench`. One file for each family of scenarios.

A figure is reported only if the audit of its own run was clean. Figures that are compared are
measured in the same run, alternately. A figure is the median of its repeats, shown with the lowest
and the highest.
"""
