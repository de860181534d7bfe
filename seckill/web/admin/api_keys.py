"""API keys: create (the key is shown once), list, revoke. The digest is never shown."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from seckill.models import ApiKey
from seckill.web.admin import steering
from seckill.web.admin.base import SeckillAdmin
from seckill.web.admin.times import clock


@admin.register(ApiKey)
class ApiKeyAdmin(SeckillAdmin):
    """The keys."""

    list_display = ("name", "begins", "right", "state", "created", "last_used")
    list_display_links = ("name",)
    actions = ("revoke_selected",)
    actions_row = ("revoke",)
    actions_detail = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new key needs only a name and a right."""
        if obj is None:
            return ("name", "can_steer")
        return (
            ("name", "can_steer"),
            ("begins", "state_text"),
            ("created", "last_used"),
            "revoked",
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The name is fixed, because the journal uses it. A revoked key never changes."""
        if obj is None:
            return ()
        always = ("name", "begins", "state_text", "created", "last_used", "revoked")
        return (*always, "can_steer") if obj.revoked_at else always

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never. Keys are revoked instead, so that a name in the journal always means one key."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Save. A new row gets its key, which only this request knows."""
        if not change:
            request.new_key = obj.renew()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The page with the key. Not a message: that would store the key in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("API key %(name)s") % {"name": obj.name},
            "key": request.new_key,  # type: ignore[attr-defined]
            "api_key": obj,
            "list_url": reverse("admin:seckill_apikey_changelist"),
        }
        return TemplateResponse(request, "seckill/key_created.html", context)

    @display(description=_("begins with"))
    def begins(self, key: ApiKey) -> str:
        """The key's first characters."""
        return f"{key.prefix}…"

    @display(description=_("created"))
    def created(self, key: ApiKey) -> str | None:
        """When it was created."""
        return clock(key.created_at)

    @display(description=_("last used"))
    def last_used(self, key: ApiKey) -> str | None:
        """When it was last used, to the minute."""
        return clock(key.last_used_at)

    @display(description=_("revoked"))
    def revoked(self, key: ApiKey) -> str | None:
        """When it was revoked."""
        return clock(key.revoked_at)

    @display(description=_("may"), label={"steer": "primary", "look": "info"})
    def right(self, key: ApiKey) -> tuple[str, str]:
        """Whether it may steer or only look."""
        return ("steer", gettext("steer")) if key.can_steer else ("look", gettext("look"))

    @display(description=_("state"), label={"active": "success", "revoked": "danger"})
    def state(self, key: ApiKey) -> tuple[str, str]:
        """Whether it is active."""
        return ("revoked", gettext("revoked")) if key.revoked_at else ("active", gettext("active"))

    @display(description=_("state"))
    def state_text(self, key: ApiKey) -> str:
        """The same as text: forms show no coloured labels."""
        return self.state(key)[1]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The form with one button: after saving, a new key must be shown on its own page."""
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        extra = {**(extra_context or {}), **one_button}
        return super().changeform_view(request, object_id, form_url, extra)

    @action(description=_("Revoke"), icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then revoke one key."""
        key = self.get_object(request, object_id)
        if key is None:
            raise Http404
        if request.method == "POST" and request.POST.get(steering.CONFIRMED) == "yes":
            self.revoke_selected(request, ApiKey.objects.filter(pk=key.pk))
            return HttpResponseRedirect(reverse("admin:seckill_apikey_changelist"))
        return steering.page(
            self,
            request,
            title=gettext("Revoke API key %(name)s") % {"name": key.name},
            lines=[
                gettext("Programs that use it get 401 from now on."),
                gettext("It cannot be restored: create a new key instead."),
            ],
            submit=gettext("Revoke"),
            danger=True,
            hidden={steering.CONFIRMED: "yes"},
        )

    @action(description=_("Revoke the selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke them. Keys that are already revoked keep their time."""
        revoked = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, gettext("%(count)s API keys revoked") % {"count": revoked})
