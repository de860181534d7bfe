"""A sale over two lanes for tests: a shop in each lane, and an operator who reaches both."""

import itertools

import redis
from django.db import connection

from seckill.control import moves
from seckill.control.control import Control, Once
from seckill.control.sale import SaleControl
from seckill.errors import RedisAway
from seckill.formats.parts import part_of_user
from seckill.lane.keys import Lane
from seckill.models import Move
from seckill.postgres.moves import on_the_way
from tests.helpers.sale import body
from tests.helpers.shop import Shop

NORTH = Lane.named("north")
HEAD, PART = 1, 2


def users_of(part: int, number: int, first: int = 1) -> list[int]:
    """So many users whom a part serves."""
    mine = (user for user in itertools.count(first) if part_of_user(user, 2) == part)
    return list(itertools.islice(mine, number))


class Split:
    """A sale of 101 units of 1001 and 5 of 1002, not split yet, and a shop in each of two lanes."""

    def __init__(self, main: Shop, north: Shop) -> None:
        self.main, self.north = main, north
        self.away: set[str] = set()
        self.control = self.operator()
        self.control.set_stock(HEAD, {1001: 101, 1002: 5})

    def operator(self, once: Once | None = None) -> SaleControl:
        return SaleControl(self.client, "olga", "main", once=once)

    def client(self, lane: str) -> "redis.Redis":
        if lane in self.away:
            raise RedisAway("nobody answers")
        return {"main": self.main, "north": self.north}[lane].client

    def control_of(self, lane: str, actor: str, once: Once | None) -> Control:
        return Control(self.client(lane), actor, Lane.named(lane), once=once)

    def both(self) -> tuple[Shop, Shop]:
        return self.main, self.north

    def split(self) -> None:
        self.control.split(HEAD, ["main", "north"])

    def buy(self, *users: int, item: int = 1001) -> list[dict[str, int]]:
        """Each user buys one unit in the lane that serves them."""
        answers = []
        for place, (shop, activity) in enumerate(zip(self.both(), (HEAD, PART), strict=True)):
            mine = [user for user in users if part_of_user(user, 2) == place]
            wanted = [body(user, {item: 1}, activity_id=activity) for user in mine]
            answers.append(shop.buy(*wanted) if wanted else {})
        return answers

    def left(self, item: int = 1001) -> tuple[int, int]:
        return self.main.item(item, HEAD)[0], self.north.item(item, PART)[0]

    def on_the_way(self) -> int:
        with connection.cursor() as cursor:
            return sum(each.units for each in on_the_way(cursor, HEAD))

    def clean(self) -> None:
        for shop in self.both():
            shop.store()
            shop.clean()

    def sum_of(self, item: int = 1001) -> int:
        """What the sale has ever had: on sale or sold in a lane, or on its way."""
        loaded = self.main.item(item, HEAD)[1] + self.north.item(item, PART)[1]
        with connection.cursor() as cursor:
            way = on_the_way(cursor, HEAD)
        units = {move.pk: moves.units_of(move) for move in Move.objects.all()}
        return loaded + sum(units[each.move].get(item, 0) for each in way)
