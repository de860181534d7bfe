"""Django's settings, one file. Addresses and passwords come from `seckill.config`."""

import os
import secrets
from collections.abc import Callable
from importlib.util import find_spec

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from seckill.config import embedded
from seckill.config.addresses import django_database
from seckill.config.layers import BASE_DIR, devstack_folder, lane_addresses, load
from seckill.config.secret_files import secret
from seckill.config.sections import ENV_PREFIX, ControlApi, Settler
from seckill.formats.lanes import cache_of
from seckill.lane.client import no_retry
from seckill.web.shared.csp import STRICT

_api = load(ControlApi)


def _words(variable: str, default: str) -> list[str]:
    given = os.environ.get(ENV_PREFIX + variable, default)
    return [word.strip() for word in given.split(",") if word.strip()]


# Without one of the site's own, sessions end with this process.
SECRET_KEY = (
    secret("SECRET_KEY", os.environ)
    or embedded.site_key(devstack_folder(os.environ))
    or secrets.token_urlsafe(50)
)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Scripts never read them: the page's own token comes with the form.
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": STRICT}
DEBUG = os.environ.get(ENV_PREFIX + "DEBUG") == "1"
DEFAULT_EXCEPTION_REPORTER_FILTER = "seckill.web.shared.debug_page.NoSecrets"
ALLOWED_HOSTS = _words("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = _words("TRUSTED_ORIGINS", "")
# People come by https only: the cookies do too.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = bool(CSRF_TRUSTED_ORIGINS) and all(
    origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS
)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    # Without a search for the admin's pages, which few processes have: urls.py does it.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    # Its pages and scripts for /docs, from here and not from the internet.
    "ninja",
    "seckill",
    # Not in the production image.
    *(app for app in ("loadgen", "devstack", "demo", "bench") if find_spec(app) is not None),
]

MIDDLEWARE = [
    "seckill.web.shared.probes.Probes",
    "seckill.web.api.paths.Problems",
    # Whatever is answered, static files too. Django masks its tokens and pads, against BREACH.
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "seckill.web.shared.language.LanguageOfPeople",
    "seckill.web.shared.zone.ZoneOfPeople",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "seckill.web.shared.csp.ContentPolicy",
    "seckill.web.shared.away_page.AwayPage",
]

ROOT_URLCONF = "seckill_project.urls"
WSGI_APPLICATION = "seckill_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # What replaces a template of unfold's stands before it.
        "DIRS": [BASE_DIR / "seckill_project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": django_database(_api.pg_dsn)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The web process's one way to each lane's Redis; main's is Django's default. The serializer is
# JSON: the default, pickle, runs what it reads. A web request must not wait: one attempt, short
# time-outs, and the caller answers 503.
CACHES = {
    cache_of(lane): {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": address,
        "KEY_PREFIX": "web",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "CONNECTION_FACTORY": "seckill.web.shared.redis_factory.ConnectionFactory",
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 2,
            "SOCKET_TIMEOUT": 5,
            "CONNECTION_POOL_KWARGS": {"retry": no_retry()},
        },
    }
    for lane, address in lane_addresses(_api.redis_url).items()
}
# The configured lanes, main first.
LANES = list(lane_addresses(_api.redis_url))

# REST calls a second of one caller, and at once: see seckill.web.shared.rate_limit.
RATE_LIMIT, RATE_BURST = _api.rate_limit, _api.rate_burst
# Whether expired holds count against a limit that an operator sets.
EXPIRED_GIVES_BACK = load(Settler).expired_gives_back

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Who comes to the login page straight goes on to the overview.
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "seckill" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# `run_control_api` collects them here: see seckill.web.static_files. Tests and other servers get
# them straight from the packages. So there is no STATIC_ROOT, and whitenoise does not warn of it.
COLLECTED_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "seckill.process.logs.formatter", "log_format": _api.log_format}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "seckill": {"level": "INFO"},
        "loadgen": {"level": "INFO"},
        # runserver's: Django's own handler would print a path as it was sent.
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    """Whether a link of the menu is shown: only where it does not lead to a refusal."""
    return lambda request: bool(request.user.has_perm(permission))


def _is_below(path: str) -> Callable[[HttpRequest], bool]:
    """Whether a link of the menu is the one of this page; the desk has a link of its own."""
    return lambda request: request.path.startswith(path) and "/desk/" not in request.path


UNFOLD = {
    "SITE_TITLE": _("Flash sale"),
    "SITE_HEADER": _("Flash sale"),
    "SITE_SUBHEADER": _("orders, inventory, control"),
    "SITE_SYMBOL": "bolt",
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_LANGUAGES": True,
    "DASHBOARD_CALLBACK": "seckill.web.admin.overview.overview",
    "STYLES": [lambda request: static("seckill/theme.css")],
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("seckill/icon.svg"),
        }
    ],
    "SCRIPTS": [
        lambda request: static("seckill/keyboard.js"),
        lambda request: static("seckill/zone.js"),
        lambda request: static("seckill/times.js"),
    ],
    "LOGIN": {"form": "seckill.web.shared.login.LoginForm"},
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": _("Sale"),
                "items": [
                    {
                        "title": _("Desk"),
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:seckill_activity_desk_home"),
                        "active": lambda request: "/desk/" in request.path,
                        "permission": _may_view("seckill.view_activity"),
                    },
                    *(
                        {
                            "title": title,
                            "icon": icon,
                            "link": reverse_lazy(f"admin:seckill_{model}_changelist"),
                            "active": _is_below(f"/admin/seckill/{model}/"),
                            "permission": _may_view(f"seckill.view_{model}"),
                        }
                        for title, icon, model in (
                            (_("Orders"), "receipt_long", "record"),
                            (_("Inventory"), "inventory_2", "item"),
                            (_("Activities"), "event", "activity"),
                            (_("Journal"), "history", "stockchange"),
                            (_("Late payments"), "undo", "latepayment"),
                            (_("Dead records"), "report_problem", "deadrecord"),
                            (_("API keys"), "key", "apikey"),
                        )
                    ),
                ],
            },
            {
                "title": _("People"),
                "items": [
                    {
                        "title": _("Users"),
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": _may_view("auth.view_user"),
                    },
                    {
                        "title": _("Groups"),
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": _may_view("auth.view_group"),
                    },
                ],
            },
        ],
    },
}
