"""Folders and files on disk: whole or not there, temporary ones that go, and locks on what a run writes into."""

from .locks import locked, locks_kept
from .temporary import temporary_folder
from .writing import Ours, beside, check_folder, unwritable, write_beside, write_whole

__all__ = [
    "Ours",
    "beside",
    "check_folder",
    "locked",
    "locks_kept",
    "temporary_folder",
    "unwritable",
    "write_beside",
    "write_whole",
]
