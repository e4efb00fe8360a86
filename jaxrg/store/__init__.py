"""Results that survive a crash: folders that know their run, checkpoints, sample stores, and files written whole."""

from jaxrg.store.checkpoints import Checkpoint, Checkpoints, newest_checkpoint
from jaxrg.store.files import DamagedError, write_atomically, write_json
from jaxrg.store.fingerprints import describe, fingerprint, program_fingerprint
from jaxrg.store.readers import as_datatree
from jaxrg.store.records import Damage
from jaxrg.store.run_folder import FolderError, RunFolder, as_folder
from jaxrg.store.samples import SampleStore

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Damage",
    "DamagedError",
    "FolderError",
    "RunFolder",
    "SampleStore",
    "as_datatree",
    "as_folder",
    "describe",
    "fingerprint",
    "newest_checkpoint",
    "program_fingerprint",
    "write_atomically",
    "write_json",
]
