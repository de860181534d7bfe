"""Files of others are as their packages have them: the list beside them has their hashes."""

import hashlib
import re

from seckill.config.layers import BASE_DIR

VENDOR = BASE_DIR / "seckill" / "static" / "seckill" / "vendor"


def test_vendored_files_are_as_they_were_taken() -> None:
    listed = re.findall(
        r"^\| \[?(\w+)\S* \| ([\d.]+) \| \w+ \| (\S+) \| (\w{64}) \|$",
        (VENDOR / "README.md").read_text(),
        re.MULTILINE,
    )
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name not in ("README.md", "LICENSE")
    }
    assert {f"{name}-{version}/{file}": digest for name, version, file, digest in listed} == found
    for folder in VENDOR.iterdir():
        assert folder.name == "README.md" or (folder / "LICENSE").is_file()
