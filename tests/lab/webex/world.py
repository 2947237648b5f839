"""What exists in the lab's Webex: people, rooms, messages, card actions, devices. No I/O, no time of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .accounts import OUTREACH_ROOM_KEY, WAR_ROOM_KEY, Account
from .ids import to_key, to_rest_id, uuid_source

PEOPLE = 200
"""Employees who write to the bots. Each has a direct room with each bot, so answers without a thread rarely meet."""

GROUP_ROOMS_PER_BOT = 8

FIRST_NAMES = ("Ada", "Bruno", "Chen", "Dana", "Emil", "Farah", "Grace", "Hiro", "Ines", "Jonas")
LAST_NAMES = ("Abbott", "Bianchi", "Cruz", "Dietrich", "Eze", "Fujita", "Garcia", "Haddad", "Ivanova", "Jensen")


class NotFound(LookupError):
    """No object with that id; the REST API answers 404."""


class TooManyDevices(Exception):
    """The account has used up its device registrations; the device service answers 403."""


def webex_time(epoch: float) -> str:
    """The API's time format, which both SDKs parse: ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True)
class Person:
    """An employee or, with `bot` set, a bot's account."""

    key: str
    email: str
    display_name: str
    bot: str | None = None

    def to_rest(self) -> dict[str, Any]:
        first, _, last = self.display_name.partition(" ")
        return {
            "id": to_rest_id("PEOPLE", self.key),
            "emails": [self.email],
            "displayName": self.display_name,
            "nickName": first,
            "firstName": first,
            "lastName": last,
            "avatar": f"https://avatar.example.com/{self.key}.png",
            "orgId": to_rest_id("ORGANIZATION", self.key),
            "created": webex_time(1_600_000_000),
            "type": "bot" if self.bot else "person",
        }


@dataclass(frozen=True)
class Room:
    """A space. `type` is `direct` (one person and one bot) or `group`."""

    key: str
    type: str
    title: str
    members: tuple[Person, ...]

    def to_rest(self) -> dict[str, Any]:
        return {
            "id": to_rest_id("ROOM", self.key),
            "title": self.title,
            "type": self.type,
            "isLocked": False,
            "creatorId": to_rest_id("PEOPLE", self.members[0].key),
            "created": webex_time(1_700_000_000),
            "lastActivity": webex_time(1_700_000_000),
        }

    def memberships(self) -> Iterator[dict[str, Any]]:
        for member in self.members:
            yield {
                "id": to_rest_id("MEMBERSHIP", f"{member.key}:{self.key}"),
                "roomId": to_rest_id("ROOM", self.key),
                "personId": to_rest_id("PEOPLE", member.key),
                "personEmail": member.email,
                "personDisplayName": member.display_name,
                "isModerator": False,
                "isMonitor": False,
                "created": webex_time(1_700_000_000),
            }


@dataclass
class Message:
    """One message in a room, by an employee or a bot."""

    key: str
    room: Room
    author: Person
    created: float
    text: str | None = None
    markdown: str | None = None
    parent: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)

    def to_rest(self) -> dict[str, Any]:
        optional = {
            "text": self.text if self.text is not None else self.markdown,
            "markdown": self.markdown,
            "attachments": self.attachments or None,
            "parentId": to_rest_id("MESSAGE", self.parent) if self.parent else None,
        }
        return {
            "id": to_rest_id("MESSAGE", self.key),
            "roomId": to_rest_id("ROOM", self.room.key),
            "roomType": self.room.type,
            "personId": to_rest_id("PEOPLE", self.author.key),
            "personEmail": self.author.email,
            "created": webex_time(self.created),
        } | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True)
class CardAction:
    """A click on the submit button of a card that a bot has posted."""

    key: str
    room: Room
    author: Person
    created: float
    card_message: str
    inputs: dict[str, Any]

    def to_rest(self) -> dict[str, Any]:
        return {
            "id": to_rest_id("ATTACHMENT_ACTION", self.key),
            "type": "submit",
            "messageId": to_rest_id("MESSAGE", self.card_message),
            "inputs": self.inputs,
            "personId": to_rest_id("PEOPLE", self.author.key),
            "roomId": to_rest_id("ROOM", self.room.key),
            "created": webex_time(self.created),
        }


@dataclass(frozen=True)
class Device:
    """One registration of a bot at the device service; its key is in the websocket's URL."""

    key: str
    bot: str
    description: dict[str, Any]

    def to_wdm(self) -> dict[str, Any]:
        return self.description | {
            "url": f"https://wdm-a.wbx2.com/wdm/api/v1/devices/{self.key}",
            "webSocketUrl": f"wss://mercury-connection-a.wbx2.com/v1/apps/wx2/registrations/{self.key}/messages",
        }


class World:
    """All objects, and the rules about who may see them. `device_limit` is per account, as at the real service."""

    def __init__(self, accounts: Iterable[Account], device_limit: int, rng: random.Random) -> None:
        self.device_limit = device_limit
        self._rng = rng
        self._new_key: Callable[[], str] = uuid_source(rng)
        self._bot_of_token: dict[str, str] = {}
        self._person_of_token: dict[str, Person] = {}
        self.bots: dict[str, Person] = {}
        self.people: dict[str, Person] = {}
        self.rooms: dict[str, Room] = {}
        self.messages: dict[str, Message] = {}
        self.actions: dict[str, CardAction] = {}
        self.devices: dict[str, Device] = {}
        self._group_rooms: dict[str, list[Room]] = {}
        self._direct_rooms: dict[tuple[str, str], Room] = {}
        self._turn = 0
        self.employees = [self._employee(number) for number in range(PEOPLE)]
        for account in accounts:
            self._add_bot(account)
        self._add_shared_rooms()

    def _add_person(self, person: Person) -> Person:
        self.people[person.key] = person
        return person

    def _employee(self, number: int) -> Person:
        first = FIRST_NAMES[number % len(FIRST_NAMES)]
        last = LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
        email = f"{first}.{last}{number}@example.com".lower()
        return self._add_person(Person(self._new_key(), email, f"{first} {last}"))

    def _add_bot(self, account: Account) -> None:
        person = self._add_person(Person(self._new_key(), account.email, account.display_name, account.bot))
        self.bots[account.bot] = person
        self._bot_of_token[account.token] = account.bot
        self._group_rooms[account.bot] = [
            self._add_room("group", f"Case {71200 + number}", (*self._some_employees(5), person))
            for number in range(GROUP_ROOMS_PER_BOT)
        ]

    def _add_shared_rooms(self) -> None:
        everybody = (*self.employees[:6], *self.bots.values())
        for key, title in ((WAR_ROOM_KEY, "War room"), (OUTREACH_ROOM_KEY, "Outreach")):
            self.rooms[key] = Room(key, "group", title, everybody)

    def _add_room(self, kind: str, title: str, members: tuple[Person, ...]) -> Room:
        room = Room(self._new_key(), kind, title, members)
        self.rooms[room.key] = room
        return room

    def _some_employees(self, count: int) -> list[Person]:
        return self._rng.sample(self.employees, count)

    def next_employee(self) -> Person:
        """Employees take turns."""
        self._turn += 1
        return self.employees[self._turn % len(self.employees)]

    def group_room(self, bot: str) -> Room:
        """A group room that the bot is in."""
        return self._rng.choice(self._group_rooms[bot])

    def direct_room(self, bot: str, person: Person) -> Room:
        """The one-to-one room of a bot and a person; made at the first use."""
        if (bot, person.key) not in self._direct_rooms:
            members = (person, self.bots[bot])
            self._direct_rooms[bot, person.key] = self._add_room("direct", person.display_name, members)
        return self._direct_rooms[bot, person.key]

    def bot_of_token(self, token: str) -> str | None:
        """The bot that the token belongs to."""
        return self._bot_of_token.get(token)

    def sign_in(self, token: str, email: str) -> Person:
        """Have a token belong to a person, who is hired if need be."""
        known = next((person for person in self.people.values() if person.email == email), None)
        self._person_of_token[token] = known or self._add_person(
            Person(self._new_key(), email, email.partition("@")[0])
        )
        return self._person_of_token[token]

    def person_of_token(self, token: str) -> Person | None:
        """The employee that the token belongs to."""
        return self._person_of_token.get(token)

    def find(self, objects: dict[str, Any], any_id: str) -> Any:
        """The object with this id in either form. Raises NotFound."""
        found = objects.get(to_key(any_id))
        if found is None:
            raise NotFound(any_id)
        return found

    def person_by_email(self, email: str) -> Person:
        """Raises NotFound."""
        for person in self.people.values():
            if person.email == email:
                return person
        raise NotFound(email)

    def rooms_of(self, bot: str) -> list[Room]:
        return [room for room in self.rooms.values() if self.bots[bot] in room.members]

    def post(self, room: Room, author: Person, created: float, **content: Any) -> Message:
        """Add a message to a room. `content`: text, markdown, parent (a UUID), attachments."""
        message = Message(self._new_key(), room, author, created, **content)
        self.messages[message.key] = message
        return message

    def click(self, card: Message, author: Person, created: float, inputs: dict[str, Any]) -> CardAction:
        """Submit a card."""
        action = CardAction(self._new_key(), card.room, author, created, card.key, inputs)
        self.actions[action.key] = action
        return action

    def messages_in(self, room: Room) -> list[Message]:
        """Newest first, as the API lists them."""
        return sorted((m for m in self.messages.values() if m.room is room), key=lambda m: -m.created)

    def devices_of(self, bot: str) -> list[Device]:
        return [device for device in self.devices.values() if device.bot == bot]

    def register_device(self, bot: str, description: dict[str, Any]) -> Device:
        """Register one more device. Raises TooManyDevices at the limit."""
        if len(self.devices_of(bot)) >= self.device_limit:
            raise TooManyDevices(bot)
        device = Device(self._new_key(), bot, description)
        self.devices[device.key] = device
        return device
