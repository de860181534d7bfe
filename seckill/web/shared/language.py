"""The language of a page: people read theirs in the admin, programs read English from the API.

Middleware of the whole site, in place of Django's own, which would also turn the API's refusals
into the language of whoever's proxy sends Accept-Language.
"""

from django.conf import settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

# Addresses whose pages are for people.
FOR_PEOPLE = ("/admin/", "/language/")


class LanguageOfPeople(LocaleMiddleware):
    """The admin in the language of the cookie, else of the browser; everything else in English."""

    def process_request(self, request: HttpRequest) -> None:
        """Choose, and say so in the request."""
        if request.path_info.startswith(FOR_PEOPLE):
            super().process_request(request)
            return
        translation.activate(settings.LANGUAGE_CODE)
        request.LANGUAGE_CODE = translation.get_language()
