"""The forms of a new activity. Owns the fields, and how items are written: one a line."""

import re
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminBigIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from seckill.control.checks import MAX_NAME, MAX_TIMEOUT_MS
from seckill.formats.outcomes import MAX_ID, MAX_UNITS
from seckill.models import Activity
from seckill.web.admin.desk_forms import HoldForm, LimitForm, WindowForm
from seckill.web.shared import services

# Item, units, and perhaps a name: as typed, and as pasted from a spreadsheet.
LINE = re.compile(r"(\d{1,19})\s*[:：,，\s]\s*(\d{1,13})(?:\s*[,，\s]\s*(.*))?", re.ASCII)
# The most items of one form.
MOST_ITEMS = 1_000


@dataclass(frozen=True)
class ItemLine:
    """One line: an item, its units, its name or ""."""

    item: int
    units: int
    name: str


class ItemsField(forms.CharField):
    """Items with their units, one a line. Its value is a list of ItemLine."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 6, "placeholder": "1001 500"})

    def clean(self, value: Any) -> Any:
        """The lines. Raises ValidationError, which names the line."""
        found: dict[int, ItemLine] = {}
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        if len(lines) > MOST_ITEMS:
            raise ValidationError(_("At most %(n)s items.") % {"n": MOST_ITEMS})
        for number, text in enumerate(lines, 1):
            parts = LINE.fullmatch(text)
            if parts is None:
                raise ValidationError(
                    _("Line %(n)s: an item, its units, and perhaps a name, as 1001 500 Phone.")
                    % {"n": number}
                )
            line = ItemLine(int(parts[1]), int(parts[2]), (parts[3] or "").strip())
            if not 1 <= line.item <= MAX_ID or line.units > MAX_UNITS:
                raise ValidationError(
                    _("Line %(n)s: an item is from 1 to 2^63 - 1, units are from 0 to 10^12.")
                    % {"n": number}
                )
            if len(line.name) > MAX_NAME:
                raise ValidationError(_("Line %(n)s: the name is too long.") % {"n": number})
            if line.item in found:
                raise ValidationError(
                    _("Line %(n)s: item %(item)s has a line already.")
                    % {"n": number, "item": line.item}
                )
            found[line.item] = line
        return list(found.values())


def _items(*, required: bool) -> ItemsField:
    return ItemsField(
        label=gettext_lazy("Items: number, units, name"),
        required=required,
        help_text=gettext_lazy(
            "One item a line, for example: 1001 500 Phone. Lines can be pasted from a spreadsheet."
        ),
    )


class ItemsForm(forms.Form):
    """The first stock of an activity."""

    items = _items(required=True)


class NewActivityForm(WindowForm, LimitForm, HoldForm):
    """All of a new activity."""

    field_order = (
        "id",
        "name",
        "items",
        "opens_at",
        "closes_at",
        "user_limit",
        "timeout_ms",
        "hold_s",
        "lane",
    )

    id = forms.IntegerField(
        label=gettext_lazy("Number"),
        min_value=1,
        max_value=MAX_ID,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text=gettext_lazy("What requests name as activity_id."),
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=MAX_NAME,
        widget=UnfoldAdminTextInputWidget,
    )
    items = _items(required=False)
    timeout_ms = forms.IntegerField(
        label=gettext_lazy("Timeout, ms"),
        required=False,
        min_value=1,
        max_value=MAX_TIMEOUT_MS,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text=gettext_lazy(
            "Requests older than this expire. Empty: what the consumers are started with."
        ),
    )

    lane = forms.ChoiceField(
        label=gettext_lazy("Lane"),
        widget=UnfoldAdminSelectWidget,
        help_text=gettext_lazy(
            "Its Redis, topic and consumers are the sale's for good: it cannot be changed later."
        ),
    )

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        if services.several_lanes():
            self.fields["lane"].choices = [(name, name) for name in settings.LANES]  # type: ignore[attr-defined]
        else:
            del self.fields["lane"]

    def clean_id(self) -> int:
        """A number that is free."""
        number: int = self.cleaned_data["id"]
        if Activity.objects.filter(pk=number).exists():
            raise ValidationError(_("Activity %(id)s exists already.") % {"id": number})
        return number
