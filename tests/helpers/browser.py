"""A buyer's browser without scripts, on a real door."""

import re

from tests.conftest import wait_until
from tests.helpers.door import Told, ask, token_of

FORM = "application/x-www-form-urlencoded"
SOON_S = 60.0


class Browser:
    """A browser without scripts: its cookies, and the buttons of the page that it shows."""

    def __init__(self, port: int, user: int = 7, language: str = "en") -> None:
        self.port, self.language = port, language
        self.cookies = {"shop": token_of(user)}
        self.origin: str | None = f"http://127.0.0.1:{port}"

    def _headers(self) -> dict[str, str]:
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept-Language": self.language, **({"Cookie": kept} if kept else {})}

    def get(self, path: str) -> Told:
        """A page."""
        return self._kept(ask(self.port, "GET", path, None, self._headers()))

    def post(self, path: str, body: str, **headers: str) -> Told:
        """A form."""
        sent = {**self._headers(), "Content-Type": FORM, **headers}
        if self.origin is not None:
            sent["Origin"] = self.origin
        return self._kept(ask(self.port, "POST", path, body, sent))

    def press(self, page: Told, item: int = 1001) -> Told:
        """A button of a page."""
        return self.post("/buy/1", f"key={key_in(page)}&item={item}")

    def buy(self, item: int = 1001) -> Told:
        """From the form to the answer, as soon as there is one."""
        sent = self.press(self.get("/buy/1/form"), item)
        assert sent.status == 303, sent.text
        return self.answer(sent)

    def answer(self, sent: Told) -> Told:
        """What the ticket's page says in the end."""
        place = sent.headers["location"]
        assert re.fullmatch(r"/t/[A-Za-z0-9_-]{83}", place)
        return wait_until(
            lambda: (told := self.get(place)) and "refresh" not in told.headers and told,
            SOON_S,
            "it is decided",
        )

    def _kept(self, told: Told) -> Told:
        set_cookie = told.headers.get("set-cookie")
        if set_cookie:
            name, _, value = set_cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return told


def key_in(page: Told) -> str:
    """The key in a page's form."""
    found = re.search(r'name="key" value="(\w+)"', page.text)
    assert found is not None, page.text
    return found[1]


def name_in(page: Told) -> str:
    """What a page tells."""
    found = re.search(r'data-name="(\w+)"', page.text)
    return found[1] if found else ""
