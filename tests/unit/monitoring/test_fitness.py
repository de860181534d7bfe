"""The rights that a worker asks for at its start: none of a sale's tables is forgotten."""

from django.apps import apps
from django.db import models

from seckill.models import ApiKey, EventCursor
from seckill.monitoring.fitness import SEQUENCES, TABLES

# Tables of the API and of run_events alone.
OTHERS = (ApiKey, EventCursor)


def test_every_table_of_a_sale_is_checked() -> None:
    found = [m for m in apps.get_app_config("seckill").get_models() if m not in OTHERS]
    assert {model._meta.db_table for model in found} == set(TABLES)
    drawn = [m._meta.db_table for m in found if isinstance(m._meta.pk, models.BigAutoField)]
    assert {f"{table}_id_seq" for table in drawn} == set(SEQUENCES)
