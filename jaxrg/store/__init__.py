"""Results that survive a crash: a folder that knows its run, fingerprints, checkpoints and files written whole."""

from jaxrg.store.checkpoints import Checkpoints
from jaxrg.store.files import write_atomically, write_json
from jaxrg.store.fingerprints import fingerprint, program_fingerprint
from jaxrg.store.run_folder import FolderError, RunFolder

__all__ = [
    "Checkpoints",
    "FolderError",
    "RunFolder",
    "fingerprint",
    "program_fingerprint",
    "write_atomically",
    "write_json",
]
