#!/usr/bin/env python
"""Entry point of every command of this project (`manage.py --help` lists them)."""

import os
import sys


def main() -> None:
    """Run a management command; a wrong configuration is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seckill_project.settings")
    try:
        from seckill.printable import printable
        from seckill.terminal import Utility, prepare
        from seckill_project.config import ConfigError
    except ImportError as missing:
        sys.exit(
            f"manage.py: {missing}. The dependencies are not installed in this Python:\n"
            "run `make setup` once, then use .venv/bin/python manage.py"
        )
    prepare()
    try:
        Utility(sys.argv).execute()
    except ConfigError as wrong:
        print(f"configuration: {printable(str(wrong))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
