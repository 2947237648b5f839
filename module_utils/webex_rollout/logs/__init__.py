# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a bot's log from a cursor on: what failed since, what recovered, and what the pool module logged about itself.

Words. A *line* is what ``grep -c`` counts. A *record* is one call of the logger: a line that starts with a time stamp
and the lines up to the next such line (a traceback belongs to its record). A *failed* record names a failure; a
*recovered* one says that the call is being tried again (urllib3's ``Retrying (Retry(...)) after connection broken
by ...`` quotes the failure it recovers from). An *incident* is a failed record that is not within ``BURST_SECONDS`` of
the record that opened an incident with the same signature: one broken connection met by eight threads is one incident.

A cursor is a plain dictionary: it names the file (device, inode, hash of its first bytes), how far it was read, and
carries what was counted since it was taken. A look therefore reads new bytes only, its result covers everything since
the cursor was taken, and repeating a look whose result was lost loses and doubles nothing.

Rooms, each importing only those before it: signatures, stamps, files, tally, search, cursor, ready_line. Nothing is
imported here, so that a module is sent only what it uses.
"""
