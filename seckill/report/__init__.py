"""The report of a sale: one HTML file that needs no network. It only reads.

`data` collects, `fairness` judges the order of the winners, `charts` draws, `page` writes HTML.
"""
