"""The report of a sale: one HTML file that needs no network. It only reads.

`data` collects, `whole` adds up the parts of a split sale, `fairness` judges the order of the
winners, `charts` draws, `page` writes HTML.
"""
