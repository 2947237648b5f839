"""webexapis.com: the REST API as far as the two SDKs and the bots use it."""

from __future__ import annotations

import json
import random
from typing import Any

from aiohttp import web

from .context import CONTEXT, bot_of
from .ids import to_key
from .world import NotFound, Person, Room

routes = web.RouteTableDef()


def json_error(status: int, message: str) -> web.Response:
    """An error in the API's form, whose `message` and `trackingId` the SDKs show."""
    tracking_id = f"ROUTER_{random.getrandbits(64):016X}"
    body = {"message": message, "errors": [{"description": message}], "trackingId": tracking_id}
    return web.json_response(body, status=status, headers={"trackingId": tracking_id})


def unauthorized() -> web.Response:
    return json_error(401, "The request requires a valid access token set in the Authorization request header.")


def not_found() -> web.Response:
    return json_error(404, "The requested resource could not be found.")


def failed(status: int, retry_after: str) -> web.Response:
    """An error that was asked for by a fault."""
    response = json_error(status, "Too Many Requests" if status == 429 else "The server encountered an error.")
    if retry_after:
        response.headers["Retry-After"] = retry_after
    return response


def items_page(request: web.Request, items: list[dict[str, Any]]) -> web.Response:
    """A page of items with the `Link` header by which the SDKs find the next one."""
    limit, offset = int(request.query.get("max", "100")), int(request.query.get("offset", "0"))
    response = web.json_response({"items": items[offset : offset + limit]})
    if offset + limit < len(items):
        url = request.url.with_scheme("https").update_query(offset=offset + limit)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def _member_room(request: web.Request, room_id: str) -> Room:
    """The room, if the asking bot is in it. Raises NotFound, as the API does not tell the two apart."""
    world = request.app[CONTEXT].world
    room: Room = world.find(world.rooms, room_id)
    if world.bots[bot_of(request)] not in room.members:
        raise NotFound(room_id)
    return room


@routes.get("/v1/people/me")
async def me(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTEXT].world.bots[bot_of(request)].to_rest())


@routes.get("/v1/people/{id}")
async def person(request: web.Request) -> web.Response:
    world = request.app[CONTEXT].world
    return web.json_response(world.find(world.people, request.match_info["id"]).to_rest())


@routes.get("/v1/people")
async def people(request: web.Request) -> web.Response:
    email = request.query.get("email", "")
    found = [p.to_rest() for p in request.app[CONTEXT].world.people.values() if p.email == email]
    return items_page(request, found)


@routes.get("/v1/rooms/{id}")
async def room(request: web.Request) -> web.Response:
    return web.json_response(_member_room(request, request.match_info["id"]).to_rest())


@routes.get("/v1/rooms")
async def rooms(request: web.Request) -> web.Response:
    kind = request.query.get("type")
    found = request.app[CONTEXT].world.rooms_of(bot_of(request))
    return items_page(request, [r.to_rest() for r in found if kind in (None, r.type)])


@routes.get("/v1/memberships")
async def memberships(request: web.Request) -> web.Response:
    members = list(_member_room(request, request.query.get("roomId", "")).memberships())
    email = request.query.get("personEmail")
    return items_page(request, [m for m in members if email in (None, m["personEmail"])])


@routes.get("/v1/messages/{id}")
async def message(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    found = context.world.find(context.world.messages, request.match_info["id"])
    _member_room(request, found.room.key)
    context.books.fetched(found.key)
    return web.json_response(found.to_rest())


@routes.get("/v1/messages")
async def messages(request: web.Request) -> web.Response:
    target = _member_room(request, request.query.get("roomId", ""))
    if target.type == "group" and request.query.get("mentionedPeople") != "me":
        return json_error(403, "Failed to get activity.")
    return items_page(request, [m.to_rest() for m in request.app[CONTEXT].world.messages_in(target)])


async def _content(request: web.Request) -> dict[str, Any]:
    """The fields of a post: JSON, or a form when a file is attached (the file is read and dropped)."""
    if request.content_type == "application/json":
        return dict(await request.json())
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _target(request: web.Request, content: dict[str, Any]) -> Room:
    """The room a post goes to. Raises NotFound."""
    world = request.app[CONTEXT].world
    if content.get("roomId"):
        return _member_room(request, content["roomId"])
    if content.get("toPersonEmail"):
        receiver: Person = world.person_by_email(content["toPersonEmail"])
    else:
        receiver = world.find(world.people, content.get("toPersonId", ""))
    return world.direct_room(bot_of(request), receiver)


@routes.post("/v1/messages")
async def post_message(request: web.Request) -> web.Response:
    context, bot = request.app[CONTEXT], bot_of(request)
    content = await _content(request)
    if not any(content.get(name) for name in ("text", "markdown", "files", "attachments")):
        return json_error(400, "Either text, markdown, files or attachments must be given.")
    target = _target(request, content)
    parent = to_key(content["parentId"]) if content.get("parentId") else None
    if parent is not None and parent not in context.world.messages:
        return json_error(404, "Could not find parent message.")
    posted = context.world.post(
        target,
        context.world.bots[bot],
        context.clock(),
        text=content.get("text"),
        markdown=content.get("markdown"),
        parent=parent,
        attachments=list(content.get("attachments") or []),
    )
    searchable = [posted.text or "", posted.markdown or "", json.dumps(posted.attachments, ensure_ascii=False)]
    context.books.posted(bot, target.key, parent, "\n".join(searchable))
    context.mercury.push_message(bot, posted)
    return web.json_response(posted.to_rest())


def _own_message(request: web.Request) -> Any:
    context = request.app[CONTEXT]
    found = context.world.find(context.world.messages, request.match_info["id"])
    if found.author is not context.world.bots[bot_of(request)]:
        raise NotFound(found.key)
    return found


@routes.put("/v1/messages/{id}")
async def edit_message(request: web.Request) -> web.Response:
    edited, content = _own_message(request), await _content(request)
    edited.text, edited.markdown = content.get("text"), content.get("markdown")
    return web.json_response(edited.to_rest())


@routes.delete("/v1/messages/{id}")
async def delete_message(request: web.Request) -> web.Response:
    del request.app[CONTEXT].world.messages[_own_message(request).key]
    return web.Response(status=204)


@routes.get("/v1/attachment/actions/{id}")
async def attachment_action(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    action = context.world.find(context.world.actions, request.match_info["id"])
    context.books.fetched(action.key)
    return web.json_response(action.to_rest())
