"""Late payments: money for holds that had ended. To be paid back, and ticked off with a note."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.views import ChangeList

from seckill.control.late_payments import name_of, settle
from seckill.models import LatePayment, Settlement
from seckill.web.admin import steering
from seckill.web.admin.base import UNKNOWN, ReadOnlyAdmin, orders_link
from seckill.web.admin.export import CsvExport
from seckill.web.admin.filters import ActivityFilter
from seckill.web.admin.journal import ActFilter
from seckill.web.admin.parts import PartsChangeList, activity_and_part
from seckill.web.admin.times import clock
from seckill.web.shared import auth

OPEN, SETTLED = "open", "settled"
STATES = {OPEN: _("to be paid back"), SETTLED: _("settled")}
# Payments that one question names.
NAMED = 20


class LateStateFilter(ActFilter):
    """By whether somebody has paid it back."""

    title = _("state")
    parameter_name = "state"
    field = "late_state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The states."""
        return list(STATES.items())


@admin.register(LatePayment)
class LatePaymentAdmin(CsvExport, ReadOnlyAdmin):
    """The payments. Nothing here gives money back: that is done at the provider."""

    rows_name = _("late payments")
    export_name = "late-payments"
    export_columns = (
        "id",
        "ts",
        "activity_id",
        "user_id",
        "reference",
        "source",
        "partition",
        "offset",
        "resolved_at",
        "resolved_by",
        "note",
    )
    list_display = ("id", "when", "state_label", "reference_", "activity", "user", "why", "note")
    list_filter = (ActivityFilter, LateStateFilter)
    filter_parameters = ("activity", "state")
    search_fields = ("reference",)
    search_help_text = _("User id or reference, exact")
    actions = ("settle_selected",)
    actions_detail = ("settle_one",)
    fieldsets = (
        (
            _("Payment"),
            {
                "fields": (("reference_", "state_text"), ("when", "why"), ("activity", "user")),
                "description": _(
                    "It came after its hold had ended. Give the money back at the provider, then "
                    "tick it off here."
                ),
            },
        ),
        (_("Settled by hand"), {"fields": (("resolved", "resolved_by"), "note")}),
        (_("Origin in Kafka"), {"fields": ("hold", "message")}),
    )
    readonly_fields = (
        *("reference_", "state_text", "when", "why", "activity", "user", "resolved", "hold"),
        "message",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list's class."""
        return PartsChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[LatePayment]:
        """Adds the state."""
        state = Case(When(resolved_at=None, then=Value(OPEN)), default=Value(SETTLED))
        return super().get_queryset(request).annotate(late_state=state)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LatePayment], search_term: str
    ) -> tuple[QuerySet[LatePayment], bool]:
        """Exact reference or exact user."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = queryset.filter(reference=term)
        if term.isascii() and term.isdigit() and len(term) <= 18:
            found |= queryset.filter(user_id=int(term))
        return found, False

    @action(description=_("Money was paid back"), permissions=["steer"])
    def settle_selected(
        self, request: HttpRequest, queryset: QuerySet[LatePayment]
    ) -> HttpResponse:
        """Ask for a note, then tick them off."""
        hidden: dict[str, str | list[str]] = {
            "action": "settle_selected",
            ACTION_CHECKBOX_NAME: [str(pk) for pk in queryset.values_list("pk", flat=True)],
        }
        return self._settle(request, queryset, hidden)

    @action(description=_("Money was paid back"), icon="check", permissions=["steer"])
    def settle_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same for one."""
        return self._settle(request, self.get_queryset(request).filter(pk=int(object_id)), {})

    def _settle(
        self,
        request: HttpRequest,
        queryset: QuerySet[LatePayment],
        hidden: dict[str, str | list[str]],
    ) -> HttpResponse:
        rows = list(queryset.filter(resolved_at=None).order_by("pk"))
        if not rows:
            messages.info(request, gettext("Nothing to do: they are settled already."))
            return HttpResponseRedirect(steering.list_of(self))
        if request.POST.get(steering.CONFIRMED) != "yes":
            more = len(rows) - NAMED
            return steering.page(
                self,
                request,
                title=gettext("Money was paid back"),
                lines=[
                    *(
                        gettext("Payment %(name)s of user %(user)s is settled.")
                        % {"name": name_of(row), "user": row.user_id}
                        for row in rows[:NAMED]
                    ),
                    *([gettext("And %(n)s more.") % {"n": f"{more:,}"}] if more > 0 else []),
                    gettext("This pays nothing back: it says that somebody has."),
                    gettext("The journal will name you."),
                ],
                form=steering.NoteForm(),
                submit=gettext("Settled"),
                hidden={**hidden, steering.CONFIRMED: "yes"},
            )

        def view() -> HttpResponse:
            note = request.POST.get(steering.NOTE, "").strip()[:200]
            done = settle([row.pk for row in rows], auth.actor_of_user(request.user), note)
            messages.success(
                request,
                ngettext("%(n)s payment is settled.", "%(n)s payments are settled.", len(done))
                % {"n": f"{len(done):,}"},
            )
            return HttpResponseRedirect(steering.list_of(self))

        return steering.answered(self, request, view, None)

    @display(description=_("when"))
    def when(self, payment: LatePayment) -> str | None:
        """When it came, by Redis's clock."""
        return clock(payment.ts)

    @display(description=_("reference"))
    def reference_(self, payment: LatePayment) -> str:
        """The shop's name for it."""
        return payment.reference or UNKNOWN

    @display(description=_("activity"))
    def activity(self, payment: LatePayment) -> SafeString | str:
        """The activity, as a link, and which part of a sale it is."""
        return activity_and_part(payment)

    @display(description=_("user"))
    def user(self, payment: LatePayment) -> SafeString | str:
        """The buyer, as a link to all orders of theirs."""
        return orders_link(payment.user_id)

    @display(description=_("what had become of the hold"))
    def why(self, payment: LatePayment) -> str:
        """Expired, or given back."""
        settled = Settlement.objects.filter(
            source=payment.source, partition=payment.partition, offset=payment.offset
        ).first()
        return settled.get_kind_display() if settled else UNKNOWN

    @display(description=_("settled at"))
    def resolved(self, payment: LatePayment) -> str | None:
        """When somebody ticked it off."""
        return clock(payment.resolved_at)

    @display(description=_("hold"))
    def hold(self, payment: LatePayment) -> str:
        """The message of the request."""
        return f"{payment.source}:{payment.partition}:{payment.offset}"

    @display(description=_("message"))
    def message(self, payment: LatePayment) -> str:
        """The message of the payment."""
        return f"{payment.settle_source}:{payment.settle_partition}:{payment.settle_offset}"

    @display(description=_("state"), label={OPEN: "danger", SETTLED: "success"})
    def state_label(self, payment: Any) -> tuple[str, Any]:
        """Whether it needs a person."""
        return payment.late_state, STATES[payment.late_state]

    @display(description=_("state"))
    def state_text(self, payment: Any) -> str:
        """The same as text: forms show no coloured labels."""
        return str(STATES[payment.late_state])
