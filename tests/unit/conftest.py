"""Makes the project's module_utils importable as Ansible makes them for modules: as part of ansible.module_utils."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))
