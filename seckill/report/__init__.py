"""The picture of a sale: one HTML file that needs no network. Reads everything, changes nothing.

`data` collects, `fairness` judges the order of the winners, `charts` draws, `page` writes.
"""
