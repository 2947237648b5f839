# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the VM: one package, imported by Ansible's modules and installed there as one zip application."""

__version__ = "0.2.0"
