"""Which part of a sale over several lanes a row is of, for the lists that show all parts of one."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from seckill.models import Activity
from seckill.web.admin.base import PlainChangeList, activity_link


class PartsChangeList(PlainChangeList):
    """A list whose rows know their part: one question for a page."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        known = parts_by_number(row.activity_id for row in self.result_list)
        for row in self.result_list:
            row.part_text = known.get(row.activity_id, "")


def parts_by_number(numbers: Iterable[int]) -> dict[int, str]:
    """{activity: which part of which sale it is, in words} of those that are parts."""
    rows = Activity.objects.filter(pk__in=set(numbers), part_of__isnull=False)
    return {
        number: _("part %(part)s of sale %(head)s") % {"part": part, "head": head}
        for number, part, head in rows.values_list("pk", "part", "part_of")
    }


def activity_and_part(row: Any) -> SafeString | str:
    """The activity of a row as a link, and its part. A row alone asks by itself."""
    number = row.activity_id or None
    shown = activity_link(number)
    part = getattr(row, "part_text", None)
    if part is None:
        part = parts_by_number([row.activity_id]).get(row.activity_id, "")
    return format_html("{} · {}", shown, part) if part else shown
