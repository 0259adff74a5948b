"""Folders and files on disk: whole or not there, temporary ones that go, and locks on what a run writes into."""

from .locks import locked, locks_kept
from .temporary import is_full, no_room, temporary_folder, working_folder
from .writing import Ours, beside, check_folder, unwritable, write_beside, write_whole

__all__ = [
    "Ours",
    "beside",
    "check_folder",
    "is_full",
    "locked",
    "locks_kept",
    "no_room",
    "temporary_folder",
    "unwritable",
    "working_folder",
    "write_beside",
    "write_whole",
]
