"""Messages wait in order and in bounds."""

import asyncio

import falcon

from appliance.errors import InvalidInput, Problem
from appliance.stream.frames import MOST_WAITING
from appliance.stream.inbox import Inbox


class Client:
    """A WebSocket that has sent so many messages and then left."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)

    async def receive_media(self) -> object:
        await asyncio.sleep(0)
        if not self.messages:
            raise falcon.WebSocketDisconnected(1006)
        return self.messages.pop(0)


def number(message: str | bytes) -> int:
    if message == "x":
        raise InvalidInput("No number.")
    return int(message)


def test_messages_come_in_order_and_then_the_end() -> None:
    async def main() -> list[int | Problem]:
        inbox: Inbox[int] = Inbox(Client("1", "x", "3"), number)  # type: ignore[arg-type]
        reading = asyncio.create_task(inbox.run())
        taken: list[int | Problem] = []
        while await inbox.wait():
            taken += inbox.take(1)
        await reading
        return taken

    first, second, third = asyncio.run(main())
    assert (first, third) == (1, 3)
    assert isinstance(second, InvalidInput)


def test_a_fast_client_has_to_wait() -> None:
    async def main() -> None:
        client = Client(*["7"] * (MOST_WAITING + 50))
        inbox: Inbox[int] = Inbox(client, number)  # type: ignore[arg-type]
        reading = asyncio.create_task(inbox.run())
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(inbox.waiting) == MOST_WAITING
        assert len(client.messages) == 50
        inbox.take(10)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(inbox.waiting) == MOST_WAITING
        while await inbox.wait():
            inbox.take(len(inbox.waiting))
        await reading

    asyncio.run(main())
