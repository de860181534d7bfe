"""The forms of the desk's acts. Owns fields, limits and help texts."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.validators import MinValueValidator
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminBigIntegerFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
)

from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_ID, MAX_UNITS
from seckill.models import MAX_HOLD_S
from seckill.web.admin.base import ZONE


class UnitsForm(forms.Form):
    """Units of an item of this activity. `known` are the items that the form offers."""

    item = forms.TypedChoiceField(
        label=gettext_lazy("Item"), coerce=int, widget=UnfoldAdminSelectWidget
    )
    units = forms.IntegerField(
        label=gettext_lazy("Units left from now on"),
        min_value=0,
        max_value=MAX_UNITS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=gettext_lazy("Units already sold stay sold and are not part of this number."),
    )

    def __init__(self, *args: Any, known: Mapping[int, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["item"].choices = list(known.items())  # type: ignore[attr-defined]


class MoreForm(UnitsForm):
    """Units to add."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        units = self.fields["units"]
        units.label = _("Units to add")
        units.help_text = _("They are added to the units left; the statistics continue.")
        units.min_value = 1  # type: ignore[attr-defined]
        units.validators = [*units.validators, MinValueValidator(1)]


class NewItemForm(forms.Form):
    """An item that is not on sale yet."""

    activity = forms.IntegerField(
        label=gettext_lazy("Activity"),
        min_value=1,
        max_value=MAX_ID,
        initial=DEFAULT_ACTIVITY,
        widget=UnfoldAdminBigIntegerFieldWidget,
        help_text=gettext_lazy("An unknown activity is created."),
    )
    item = forms.IntegerField(
        label=gettext_lazy("Item"),
        min_value=1,
        max_value=MAX_ID,
        widget=UnfoldAdminBigIntegerFieldWidget,
    )
    units = forms.IntegerField(
        label=gettext_lazy("Units left from now on"),
        min_value=0,
        max_value=MAX_UNITS,
        widget=UnfoldAdminIntegerFieldWidget,
    )


class WindowForm(forms.Form):
    """When the activity opens and closes."""

    opens_at = forms.SplitDateTimeField(
        label=format_lazy("{} ({})", gettext_lazy("Opens at"), ZONE),
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text=gettext_lazy("Empty: open from the start."),
    )
    closes_at = forms.SplitDateTimeField(
        label=format_lazy("{} ({})", gettext_lazy("Closes at"), ZONE),
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text=gettext_lazy("Empty: open until it is finished."),
    )

    def clean(self) -> dict[str, Any]:
        """The values, checked against each other."""
        values = super().clean() or self.cleaned_data
        opens, closes = values.get("opens_at"), values.get("closes_at")
        if opens and closes and closes <= opens:
            self.add_error("closes_at", _("It must close later than it opens."))
        return values


class HoldForm(forms.Form):
    """How long an accepted request waits to be paid."""

    hold_s = forms.IntegerField(
        label=gettext_lazy("Hold, seconds"),
        required=False,
        min_value=1,
        max_value=MAX_HOLD_S,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=gettext_lazy(
            "How long an accepted request may wait for payment. Empty: it is sold at once."
        ),
    )


class LimitForm(forms.Form):
    """The most units that one user gets."""

    user_limit = forms.IntegerField(
        label=gettext_lazy("Units per user"),
        required=False,
        min_value=1,
        max_value=MAX_UNITS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=gettext_lazy("The most units that one user gets. Empty: no limit."),
    )
