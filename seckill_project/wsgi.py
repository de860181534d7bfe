"""The WSGI application, for `run_control_api`, `runserver` and other servers."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seckill_project.settings")
application = get_wsgi_application()
