"""The ranks of a group: every one is a member (`member`), and one of them its root (`root`)."""

from mpiens.worker.member import GroupMember, failure_of
from mpiens.worker.root import GroupRoot

__all__ = ["GroupMember", "GroupRoot", "failure_of"]
