"""Addresses: the control API at the paths of the original, the admin, and a way in."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from seckill.web.api import api

# Here and not at the start of every command: the pages are most of what there is to import.
admin.autodiscover()

urlpatterns = [
    path("admin/", admin.site.urls),
    path("language/", include("django.conf.urls.i18n")),
    # Before the API, whose own root answers 404.
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("", api.urls),
]
