"""Users and groups, in the style of the other pages. The groups are from
`seckill.web.shared.roles`.
"""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from seckill.web.admin.base import UNKNOWN
from seckill.web.admin.times import clock

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class PeopleAdmin(UserAdmin, ModelAdmin):
    """The people who may log in."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        *("username", "full_name", "roles", "seen"),
        *("is_active", "is_staff", "is_superuser"),
    )
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    readonly_fields = ("seen", "joined")
    fieldsets = (
        *(
            (title, options)
            for title, options in UserAdmin.fieldsets or ()
            if "last_login" not in options["fields"]
        ),
        (_("Important dates"), {"fields": (("seen", "joined"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With the groups, which the list names."""
        return super().get_queryset(request).prefetch_related("groups")

    @display(description=_("name"))
    def full_name(self, user: User) -> str:
        """First and last name."""
        return user.get_full_name() or UNKNOWN

    @display(description=_("groups"))
    def roles(self, user: User) -> str:
        """The names of the groups."""
        return ", ".join(group.name for group in user.groups.all()) or UNKNOWN

    @display(description=_("last login"))
    def seen(self, user: User) -> str | None:
        """When they logged in last."""
        return clock(user.last_login)

    @display(description=_("date joined"))
    def joined(self, user: User) -> str | None:
        """When they were created."""
        return clock(user.date_joined)


@admin.register(Group)
class RolesAdmin(GroupAdmin, ModelAdmin):
    """The groups, which carry the permissions."""
