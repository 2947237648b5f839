# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a bot's log from a cursor on: what failed since, what recovered, and what the pool module logged about itself.

Words. The *dialect* of a log is the form in which it is written: where a record begins, when it was written, how severe
it is; it is learned from the log's lines. A *record* is one call of the logger: its *head* and the lines up to the next
one (a traceback belongs to its record). Only records at WARNING or above count; in a log without levels, tracebacks. A
*line* is what ``grep -c`` counts in these. A *failed* record names a failure; a *recovered* one says that the call is
being tried again (urllib3's ``Retrying (Retry(...)) after connection broken by ...`` quotes the failure it recovers
from). An *incident* is a failed record that is not within ``BURST_SECONDS`` of the record that opened an incident with
the same signature: one broken connection met by eight threads is one incident. An *error* is a record at ERROR or
above, or with a traceback, whatever it says; docs/logs.md has what that is worth.

A cursor is a plain dictionary: it names the file (device, inode, hash of its first bytes), how far it was read, and
carries what was counted since it was taken. A look therefore reads new bytes only, its result covers everything since
the cursor was taken, and repeating a look whose result was lost loses and doubles nothing.

Rooms, each importing only those before it: signatures, levels, stamps, kinds, dialect, learning, names, holes, files,
heads, passes, search, sampling, pool_lines, tally, cursor, ready_line, reader. Nothing is imported here, so that a
module is sent only what it uses.
"""
