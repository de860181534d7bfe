"""Commands start without the pages: these take a third of the time of a start."""

import os
import subprocess
import sys

from seckill.config.layers import BASE_DIR

# What shows the pages, or their words.
WITH_PAGES = ("run_control_api", "report")
LOAD = f"""
import sys, django
from django.core.management import get_commands, load_command_class
from seckill.management.utility import OURS
django.setup()
for name, app in get_commands().items():
    if str(app).partition(".")[0] in OURS and name not in {WITH_PAGES}:
        assert load_command_class(app, name).requires_system_checks == [], name
        assert not {{"seckill.web.api", "seckill.web.admin"}} & set(sys.modules), name
"""


def test_commands_import_no_pages() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "seckill_project.settings"}
    subprocess.run([sys.executable, "-c", LOAD], cwd=BASE_DIR, env=environment, check=True)
