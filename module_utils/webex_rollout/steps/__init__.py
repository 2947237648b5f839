# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a rollout. Each holds its bot's mutex, writes down what it is about to do, and does it."""
