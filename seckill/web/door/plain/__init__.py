"""Buying without JavaScript: a form, and a page that loads itself until there is an answer."""
