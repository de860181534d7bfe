"""What commands show of a sale over two lanes: the whole of it, and a lane that is away by name."""

import json

from tests.helpers.known_sale import Known
from tests.helpers.split_sale import HEAD, PART


def test_activity_show_has_the_sums_of_the_sale(known: Known) -> None:
    known.sale.buy(*range(1, 21))
    for activity in (HEAD, PART):
        shown = json.loads(known.lanes.run("activity", "show", str(activity), "--json"))
        assert shown["part_of"] == HEAD
        sums = {name: shown["sale"][name] for name in ("head", "loaded", "left", "sold")}
        assert sums == {"head": HEAD, "loaded": 106, "left": 86, "sold": 20}
        assert [part["sold"] for part in shown["sale"]["parts"]] == [10, 10]
    head = known.lanes.run("activity", "show", str(HEAD))
    assert head.count("  item 1001: left ") == 2
    assert "activity 2 | lane north | part 1 of 2 of sale 1 | on sale" in head
    whole = "sale 1 in all lanes: loaded 106, left 86, sold 20, on the way 0"
    assert whole in head
    part = known.lanes.run("activity", "show", str(PART))
    assert part.count("  item 1001: left ") == 1
    assert whole in part
    listed = json.loads(known.lanes.run("activity", "list", "--json"))["activities"]
    assert [row["sale"] for row in listed] == [None, None]

    known.north.kill()
    head = known.lanes.run("activity", "show", str(HEAD))
    assert "activity 2 | lane north | part 1 of 2 of sale 1 | its Redis is away" in head
    assert "sale 1 without lane north: loaded 53, left 43, sold 10, on the way 0" in head
    sale = json.loads(known.lanes.run("activity", "show", str(HEAD), "--json"))["sale"]
    assert (sale["left"], sale["parts"][1]["version"], sale["parts"][1]["left"]) == (43, None, None)
