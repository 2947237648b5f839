"""webexapis.com as an employee's own account sees it: write to a bot, list the messages of a room."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .context import CONTEXT
from .rest import items_page, json_error, not_found
from .world import NotFound, Person, Room, World


async def answer(request: web.Request, person: Person) -> web.Response:
    """Answer one request of a person's."""
    try:
        if (request.method, request.path) == ("POST", "/v1/messages"):
            return await _write(request, person)
        if (request.method, request.path) == ("GET", "/v1/messages"):
            return _listed(request, person)
    except NotFound:
        pass
    return not_found()


async def _write(request: web.Request, person: Person) -> web.Response:
    context, content = request.app[CONTEXT], dict(await request.json())
    if not any(content.get(name) for name in ("text", "markdown")):
        return json_error(400, "Either text, markdown, files or attachments must be given.")
    room = _target(context.world, person, content)
    text, markdown = content.get("text"), content.get("markdown")
    for bot in context.world.bots.values():  # a mention is shown by the name
        markdown = markdown and markdown.replace(f"<@personEmail:{bot.email}>", bot.display_name)
    posted = context.world.post(room, person, context.clock(), text=text or markdown, markdown=markdown)
    for name, bot in context.world.bots.items():
        mentioned = f"<@personEmail:{bot.email}>" in (content.get("markdown") or "")
        if bot in room.members and (room.type == "direct" or mentioned):
            context.mercury.push_message(name, posted)
    return web.json_response(posted.to_rest())


def _target(world: World, person: Person, content: dict[str, Any]) -> Room:
    """Raises NotFound."""
    if content.get("roomId"):
        return _room(world, person, content["roomId"])
    if content.get("toPersonEmail"):
        bot: Person = world.person_by_email(content["toPersonEmail"])
    else:
        bot = world.find(world.people, content.get("toPersonId", ""))
    if bot.bot is None:
        raise NotFound(bot.key)
    return world.direct_room(bot.bot, person)


def _room(world: World, person: Person, room_id: str) -> Room:
    room: Room = world.find(world.rooms, room_id)
    if person not in room.members:
        raise NotFound(room_id)
    return room


def _listed(request: web.Request, person: Person) -> web.Response:
    world = request.app[CONTEXT].world
    room = _room(world, person, request.query.get("roomId", ""))
    return items_page(request, [message.to_rest() for message in world.messages_in(room)])
