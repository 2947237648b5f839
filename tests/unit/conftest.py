"""Makes the project's module_utils importable as Ansible makes them for modules: as part of ansible.module_utils.

Generated examples are the same in every run; the bench draws new ones.
"""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))
