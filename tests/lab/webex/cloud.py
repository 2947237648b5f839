"""The hosts beside the REST API: service catalogue, device registration, conversation service."""

from __future__ import annotations

from aiohttp import web

from .context import CONTEXT, bot_of
from .ids import to_rest_id
from .world import NotFound, TooManyDevices

routes = web.RouteTableDef()


@routes.get("/u2c/api/v1/catalog")
async def catalog(request: web.Request) -> web.Response:
    """The host map from which webex_bot takes the address of the device service."""
    links = {
        "wdm": "https://wdm-a.wbx2.com/wdm/api/v1",
        "conversation": "https://conv-a.wbx2.com/conversation/api/v1",
        "mercuryConnection": "https://mercury-connection-a.wbx2.com/v1",
    }
    return web.json_response({"serviceLinks": links, "hostCatalog": {}})


@routes.get("/wdm/api/v1/devices")
async def devices(request: web.Request) -> web.Response:
    """The account's registrations. Without any the service answers 404, and webex_bot makes one."""
    found = request.app[CONTEXT].world.devices_of(bot_of(request))
    if not found:
        return web.json_response({"message": "No devices found"}, status=404)
    return web.json_response({"devices": [device.to_wdm() for device in found]})


@routes.post("/wdm/api/v1/devices")
async def register(request: web.Request) -> web.Response:
    try:
        device = request.app[CONTEXT].world.register_device(bot_of(request), await request.json())
    except TooManyDevices:
        message = "User has excessive device registrations"
        return web.json_response({"message": message, "errors": [{"description": message}]}, status=403)
    return web.json_response(device.to_wdm())


@routes.delete("/wdm/api/v1/devices/{key}")
async def unregister(request: web.Request) -> web.Response:
    world = request.app[CONTEXT].world
    device = world.find(world.devices, request.match_info["key"])
    if device.bot != bot_of(request):
        raise NotFound(device.key)
    del world.devices[device.key]
    return web.Response(status=204)


@routes.get("/conversation/api/v1/messages/{key}")
async def message_id(request: web.Request) -> web.Response:
    """The REST id of a message, by the UUID that the websocket gave."""
    context = request.app[CONTEXT]
    message = context.world.find(context.world.messages, request.match_info["key"])
    context.books.resolved(message.key)
    return web.json_response({"id": to_rest_id("MESSAGE", message.key)})


@routes.get("/conversation/api/v1/attachment/actions/{key}")
async def action_id(request: web.Request) -> web.Response:
    """The REST id of a click on a card."""
    context = request.app[CONTEXT]
    action = context.world.find(context.world.actions, request.match_info["key"])
    context.books.resolved(action.key)
    return web.json_response({"id": to_rest_id("ATTACHMENT_ACTION", action.key)})
