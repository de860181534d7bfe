"""API keys: made here and shown once, looked at, and revoked. The digest is shown nowhere."""

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
from seckill.web.admin.base import SeckillAdmin, clock


@admin.register(ApiKey)
class ApiKeyAdmin(SeckillAdmin):
    """The keys."""

    list_display = ("name", "begins", "right", "state", "created", "last_used")
    list_display_links = ("name",)
    actions = ("revoke_selected",)
    actions_row = ("revoke",)
    actions_detail = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new key has a name and a right; the rest comes with it."""
        if obj is None:
            return ("name", "can_steer")
        return (
            ("name", "can_steer"),
            ("begins", "state_text"),
            ("created", "last_used"),
            "revoked",
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The name stays, because the journal names it; a revoked key stays as it is."""
        if obj is None:
            return ()
        always = ("name", "begins", "state_text", "created", "last_used", "revoked")
        return (*always, "can_steer") if obj.revoked_at else always

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: revoke it, so that the journal's names stay those of one key."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Save; a new row gets its key, which this request alone knows."""
        if not change:
            request.new_key = obj.renew()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The page with the key. It is stored nowhere: a message would travel in a cookie."""
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
        """Its first characters."""
        return f"{key.prefix}…"

    @display(description=_("created"))
    def created(self, key: ApiKey) -> str | None:
        """When it was made."""
        return clock(key.created_at)

    @display(description=_("last used"))
    def last_used(self, key: ApiKey) -> str | None:
        """When it was used last, to the minute."""
        return clock(key.last_used_at)

    @display(description=_("revoked"))
    def revoked(self, key: ApiKey) -> str | None:
        """When it was revoked."""
        return clock(key.revoked_at)

    @display(description=_("may"), label={"steer": "primary", "look": "info"})
    def right(self, key: ApiKey) -> tuple[str, str]:
        """What it is good for."""
        return ("steer", gettext("steer")) if key.can_steer else ("look", gettext("look"))

    @display(description=_("state"), label={"active": "success", "revoked": "danger"})
    def state(self, key: ApiKey) -> tuple[str, str]:
        """Whether it is taken."""
        return ("revoked", gettext("revoked")) if key.revoked_at else ("active", gettext("active"))

    @display(description=_("state"))
    def state_text(self, key: ApiKey) -> str:
        """The same without a label's colours: forms have none."""
        return self.state(key)[1]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The form. A new key is a page of its own: nothing else can follow its saving."""
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
                gettext("It cannot be made valid again: make a new one instead."),
            ],
            submit=gettext("Revoke"),
            danger=True,
            hidden={steering.CONFIRMED: "yes"},
        )

    @action(description=_("Revoke the selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke them. What is revoked already keeps its time."""
        revoked = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, gettext("%(count)s API keys revoked") % {"count": revoked})
