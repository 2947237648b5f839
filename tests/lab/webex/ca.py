"""The lab's certificate authority and the certificate for Webex's host names."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

HOSTS = (
    "webexapis.com",
    "u2c.wbx2.com",
    "wdm-a.wbx2.com",
    "conv-a.wbx2.com",
    "mercury-connection-a.wbx2.com",
)
"""Every name under which the bots meet Webex; the VM resolves all of them to the stand-in."""

CERTIFICATE_FILE = "ca.pem"
_KEY_FILE = "ca.key"


def ensure_ca(directory: Path) -> Path:
    """Make the authority in `directory` unless it is there; return the file that bots trust (`REQUESTS_CA_BUNDLE`)."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / CERTIFICATE_FILE, directory / _KEY_FILE
    if not (certificate.exists() and key.exists()):
        authority = trustme.CA(organization_name="webex-bot-rollout lab")
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(authority.private_key_pem.bytes())
        certificate.write_bytes(authority.cert_pem.bytes())
    return certificate


def server_context(directory: Path) -> ssl.SSLContext:
    """A server's TLS context with a certificate for HOSTS, issued by the authority in `directory`."""
    ensure_ca(directory)
    authority = trustme.CA.from_pem((directory / CERTIFICATE_FILE).read_bytes(), (directory / _KEY_FILE).read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*HOSTS).configure_cert(context)
    return context
