"""A stand-in for the part of Webex that the bots use: REST API, device registration, conversation service, websocket.

`python -m tests.lab.webex --help` starts it; `tests.lab.webex.client.WebexLab` talks to a running one.
"""
