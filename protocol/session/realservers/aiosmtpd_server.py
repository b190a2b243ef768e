"""An aiosmtpd server for tests: stores what it accepts in a folder and delivers nothing.

The one argument is a JSON file of settings.
"""

import asyncio
import json
import pathlib
import ssl
import sys

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Store:
    """Keeps each message in a file of its own, numbered in order of arrival."""

    def __init__(self, folder, recipient):
        self.folder = pathlib.Path(folder)
        self.recipient = recipient
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address != self.recipient:
            return "550 5.1.1 <%s>: no such mailbox here" % address
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        name = "%09d" % self.count
        self.count += 1
        unfinished = self.folder / "tmp" / name
        unfinished.write_bytes(envelope.original_content)
        unfinished.rename(self.folder / "new" / name)
        # aiosmtpd leaves it to its user that LMTP has one reply for each recipient (RFC 2033, 4.2).
        replies = len(envelope.rcpt_tos) if isinstance(server, LMTP) else 1
        return "\r\n".join(["250 2.0.0 OK: queued as %s" % name] * replies)


async def main():
    settings = json.loads(pathlib.Path(sys.argv[1]).read_text())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(settings["certificate"], settings["key"])
    store = Store(settings["maildir"], settings["recipient"])
    account = LoginPassword(settings["username"].encode(), settings["password"].encode())

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data == account, handled=False)

    common = {
        "hostname": settings["serverName"],
        "ident": "ESMTP aiosmtpd",
        "data_size_limit": settings["maxMessageSize"],
        "enable_SMTPUTF8": True,
    }
    account_needed = {"authenticator": authenticate, "auth_required": True}
    listeners = {
        "smtp": (SMTP, {"tls_context": tls}, None),
        "lmtp": (LMTP, {}, None),
        "submission": (SMTP, {"tls_context": tls, **account_needed}, None),
        # Here TLS is below SMTP, so that aiosmtpd itself does not see any.
        "submissions": (SMTP, {"auth_require_tls": False, **account_needed}, tls),
    }
    loop = asyncio.get_running_loop()
    for name, (protocol, options, implicit) in listeners.items():
        await loop.create_server(
            lambda protocol=protocol, options=options: protocol(store, loop=loop, **common, **options),
            "127.0.0.1",
            settings["ports"][name],
            ssl=implicit,
        )
    await asyncio.Event().wait()


asyncio.run(main())
