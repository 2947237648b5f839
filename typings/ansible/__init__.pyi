# Ansible finds the project's module_utils/ as ansible.module_utils, and so does mypy by the link beside this file.
# Ansible itself has no types: whatever else is imported from it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
