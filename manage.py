#!/usr/bin/env python
"""Entry point of every command of this project (`manage.py --help` lists them)."""

import os
import sys


def main() -> None:
    """Run a management command; a wrong configuration is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seckill_project.settings")
    try:
        from seckill.config.layers import ConfigError
        from seckill.management.utility import run
        from seckill.process.printable import printable
        from seckill.process.streams import prepare
    except ImportError as missing:
        sys.exit(
            f"manage.py: {missing}. The dependencies are not installed in this Python:\n"
            "run `make setup` once, then use .venv/bin/python manage.py"
        )
    prepare()
    try:
        run(sys.argv)
    except ConfigError as wrong:
        print(f"configuration: {printable(str(wrong))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
