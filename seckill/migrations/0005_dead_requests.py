from django.db import migrations, models

from seckill.errors import Poison
from seckill.formats.record import parse


def fill(apps, schema_editor):
    """The request ids of dead records that are older than their column."""
    dead = apps.get_model("seckill", "DeadRecord").objects
    for row in dead.filter(request_id=None, source__isnull=False).iterator():
        try:
            row.request_id = parse(bytes(row.raw)).request_id
        except Poison:
            # It was readable when it was kept. It stays findable by its place.
            continue
        if row.request_id is not None:
            row.request_id = row.request_id.replace("\0", "")
            row.save(update_fields=["request_id"])


class Migration(migrations.Migration):

    dependencies = [
        ('seckill', '0004_clicks'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='deadrecord',
            index=models.Index(condition=models.Q(('request_id__isnull', False)), fields=['request_id'], name='dead_record_request'),
        ),
    ]
