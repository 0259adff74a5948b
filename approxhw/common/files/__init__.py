"""Folders and files: read with a limit, written whole or not there, temporary ones that go, and locks on what runs write into."""

from .locks import locked, locks_kept
from .reading import UnreadableError, is_plain_file, opened, other_kind, read_bytes, read_text, sha256_of, size_text
from .temporary import temporary_folder
from .working import is_full, no_room, working_folder
from .writing import OtherKindError, Ours, beside, check_folder, of_pattern, unwritable, write_beside, write_whole

__all__ = [
    "OtherKindError",
    "Ours",
    "UnreadableError",
    "beside",
    "check_folder",
    "is_full",
    "is_plain_file",
    "locked",
    "locks_kept",
    "no_room",
    "of_pattern",
    "opened",
    "other_kind",
    "read_bytes",
    "read_text",
    "sha256_of",
    "size_text",
    "temporary_folder",
    "unwritable",
    "working_folder",
    "write_beside",
    "write_whole",
]
