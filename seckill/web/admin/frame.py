"""The frame of the admin's pages: unfold's texts. Its colours are in seckill/theme.css."""

from django.utils.translation import gettext_noop as _

# Texts of unfold's own pages. It has no translations, so they are in our catalogue.
UNFOLD_WORDS = (
    _("Select record"),
    _("Select action"),
    _("Select action to run"),
    _("Run"),
    _("Name"),
    _("Value"),
    _("From"),
    _("To"),
    _("Date"),
    _("Date from"),
    _("Date to"),
    _("Edit"),
    _("Welcome back to"),
    _("Type to search"),
    _("Filters"),
    _("More actions"),
    _("All applications"),
    _("True"),
    _("False"),
    _("Apply Filters"),
    _("Select all rows"),
    _("Expand row"),
    _("No results found"),
    _("Reset filters"),
    _("Go back"),
    _("Previous"),
    _("General"),
    _("This page yielded into no results. Create a new item or reset your filters."),
    _("Light"),
    _("Dark"),
    _("System"),
    _("Return to site"),
    _("Toggle password visibility"),
    _("Select value"),
    _("No data"),
    _("Collapse"),
    _("Search apps and models..."),
    _("You have been successfully logged out from the administration"),
    _("After you've created a user, you’ll be able to edit more user options."),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you "
        'can change the password using <a href="{}" class="text-primary-600 '
        'dark:text-primary-500">this form</a>.'
    ),
)
