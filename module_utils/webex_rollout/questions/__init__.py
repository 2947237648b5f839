# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller asks of a VM, a room each: a module that is sent there answers so, and the installed program too.

Each room has ``answer(given, check)``: the result as a module returns it, for arguments that were checked against the
module's options. What cannot be done is a result too, with ``failed`` and ``msg``.
"""
