"""Results that survive a crash: a folder that knows its run, fingerprints, checkpoints and files written whole."""

from jaxrg.store.checkpoints import Checkpoint, Checkpoints, DamagedError, newest_checkpoint
from jaxrg.store.files import write_atomically, write_json
from jaxrg.store.fingerprints import describe, fingerprint, program_fingerprint
from jaxrg.store.run_folder import FolderError, RunFolder, as_folder

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "DamagedError",
    "FolderError",
    "RunFolder",
    "as_folder",
    "describe",
    "fingerprint",
    "newest_checkpoint",
    "program_fingerprint",
    "write_atomically",
    "write_json",
]
