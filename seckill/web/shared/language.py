"""The language of a page: the reader's in the admin, English in the API.

Middleware of the whole site, in place of Django's own. That one would also translate the API's
errors, into whatever Accept-Language a client or proxy sends.
"""

from django.conf import settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

# Paths of pages for people.
FOR_PEOPLE = ("/admin/", "/language/")


class LanguageOfPeople(LocaleMiddleware):
    """The admin in the language of the cookie or the browser; everything else in English."""

    def process_request(self, request: HttpRequest) -> None:
        """Choose the language, and set it on the request."""
        if request.path_info.startswith(FOR_PEOPLE):
            super().process_request(request)
            return
        translation.activate(settings.LANGUAGE_CODE)
        request.LANGUAGE_CODE = translation.get_language()
