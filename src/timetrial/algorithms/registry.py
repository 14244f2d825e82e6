"""Finding submissions: a file, a folder with a `submission.py`, or an installed name."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from timetrial.api import TrainingAlgorithm
from timetrial.compat.recognise import is_public_submission
from timetrial.errors import UnknownNameError, UserError
from timetrial.importing import import_file
from timetrial.records.plan import SubmissionId

_BUILT_IN = {
    "adafactor": "timetrial.algorithms.adafactor:Adafactor",
    "adam": "timetrial.algorithms.adam:Adam",
    "adam_mini": "timetrial.algorithms.adam_mini:AdamMini",
    "adamg": "timetrial.algorithms.adamg:AdamG",
    "adamw": "timetrial.algorithms.adamw:AdamW",
    "ademamix": "timetrial.algorithms.ademamix:AdEMAMix",
    "amos": "timetrial.algorithms.amos:Amos",
    "amuse": "timetrial.algorithms.amuse:Amuse",
    "caspr": "timetrial.algorithms.caspr:CASPR",
    "cautious_nadamw": "timetrial.algorithms.cautious_nadamw:CautiousNAdamW",
    "constrained_adamw": "timetrial.algorithms.constrained_adamw:ConstrainedAdamW",
    "cyclic_nadamw": "timetrial.algorithms.cyclic_nadamw:CyclicNAdamW",
    "distributed_shampoo": "timetrial.algorithms.distributed_shampoo:DistributedShampoo",
    "ema_nesterov": "timetrial.algorithms.ema_nesterov:EMANesterov",
    "foam": "timetrial.algorithms.foam:FOAM",
    "generalized_adam": "timetrial.algorithms.generalized_adam:GeneralizedAdam",
    "lamb": "timetrial.algorithms.lamb:LAMB",
    "lawa_ema": "timetrial.algorithms.lawa_ema:LAWAEMA",
    "lawa_queue": "timetrial.algorithms.lawa_queue:LAWAQueue",
    "linear_adamw": "timetrial.algorithms.linear_adamw:LinearAdamW",
    "lion": "timetrial.algorithms.lion:Lion",
    "lionmuon": "timetrial.algorithms.lionmuon:LionMuon",
    "mars_adamw": "timetrial.algorithms.mars_adamw:MARSAdamW",
    "modular_norm_descent": "timetrial.algorithms.modular_norm_descent:ModularNormDescent",
    "muon": "timetrial.algorithms.muon:Muon",
    "nadamp": "timetrial.algorithms.nadamp:NadamP",
    "nadamw": "timetrial.algorithms.nadamw:NAdamW",
    "nadamw_baseline": "timetrial.algorithms.nadamw_baseline:NAdamWBaseline",
    "nadamw_sequential": "timetrial.algorithms.nadamw_sequential:NAdamWSequential",
    "nesterov": "timetrial.algorithms.nesterov:Nesterov",
    "normuon": "timetrial.algorithms.normuon:NorMuon",
    "prodigy": "timetrial.algorithms.prodigy:Prodigy",
    "psgd_kron": "timetrial.algorithms.psgd_kron:PSGDKron",
    "sam": "timetrial.algorithms.sam:SAM",
    "schedule_free_adamw": "timetrial.algorithms.schedule_free_adamw:ScheduleFreeAdamW",
    "schedule_free_adamw_v2": "timetrial.algorithms.schedule_free_adamw_v2:ScheduleFreeAdamWV2",
    "schedule_free_prodigy": "timetrial.algorithms.schedule_free_prodigy:ScheduleFreeProdigy",
    "schedule_free_sgd": "timetrial.algorithms.schedule_free_sgd:ScheduleFreeSGD",
    "scion": "timetrial.algorithms.scion:Scion",
    "sgd_momentum": "timetrial.algorithms.sgd_momentum:HeavyBall",
    "single_worker_diloco": "timetrial.algorithms.single_worker_diloco:SingleWorkerDiLoCo",
    "soap": "timetrial.algorithms.soap:SOAP",
    "sophia_g": "timetrial.algorithms.sophia_g:SophiaG",
    "symmetry_compatible": "timetrial.algorithms.symmetry_compatible:SymmetryCompatible",
    "unconstrained_scion": "timetrial.algorithms.unconstrained_scion:UnconstrainedScion",
    "weighted_schedule_free_adamw": "timetrial.algorithms.weighted_schedule_free_adamw:WeightedScheduleFreeAdamW",
    "wsd_adamw": "timetrial.algorithms.wsd_adamw:WSDAdamW",
}

ENTRY_POINT_GROUP = "timetrial.submissions"
"""An installed package offers submissions under this entry-point group, as `name = "module:Class"`."""


def known_submissions() -> dict[str, str]:
    """Return the installed submissions, as `module:Class` by name; timetrial's own win over others'."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**installed, **_BUILT_IN}


def identify(reference: str) -> SubmissionId:
    """Return the name, place and hash of the submission that a user means by `reference`.

    A path may name the class to take: `my_optimizer.py:MyAdamW`. Raises UserError.
    """
    known = known_submissions()
    if reference in known:
        return SubmissionId(name=reference, location=known[reference], sha256=_hash(_module_file(known[reference])))
    place, class_name = _split_class(reference)
    path = Path(place)
    if not path.exists():
        if path.suffix == ".py" or "/" in place:
            raise UserError(f"submission {reference}: no such file or folder")
        raise UnknownNameError("submission", reference, known)
    if path.is_dir() and not (path / "submission.py").is_file():
        raise UserError(f"submission {reference}: expected a file submission.py in this folder")
    name = re.sub(r"[^\w.-]+", "_", path.resolve().name.removesuffix(".py"))
    suffix = f":{class_name}" if class_name else ""
    return SubmissionId(name=name, location=f"{path.resolve()}{suffix}", sha256=_hash(path))


def load_submission(location: str) -> type[TrainingAlgorithm]:
    """Import a submission's class from the `location` that `identify` gave. Raises UserError."""
    place, class_name = _split_class(location)
    path = Path(place)
    if path.is_absolute() and class_name is None and is_public_submission(_entry_file(path)):
        return _load_public(path)
    module = _import_path(path) if path.is_absolute() else import_module(place)
    if class_name is not None:
        found = getattr(module, class_name, None)
        candidates = [found] if isinstance(found, type) else []
    else:
        candidates = [value for value in vars(module).values() if _is_own_algorithm(value, module)]
    if len(candidates) != 1:
        names = ", ".join(candidate.__name__ for candidate in candidates) or "none"
        wanted = f"a class {class_name}" if class_name else "exactly one subclass of timetrial.api.TrainingAlgorithm"
        raise UserError(f"submission {location}: expected {wanted}, found {names}; name one as in file.py:ClassName")
    return _checked(candidates[0], location)


def _entry_file(path: Path) -> Path:
    return path / "submission.py" if path.is_dir() else path


def _load_public(path: Path) -> type[TrainingAlgorithm]:
    """Import a submission that is written for the public benchmark's API."""
    from timetrial.compat.load import load_public_submission  # imports PyTorch

    name = _module_name(path)
    if name not in _public:
        _public[name] = load_public_submission(path, name)
    return _public[name]


_public: dict[str, type[TrainingAlgorithm]] = {}
"""Public submissions that this process has imported, by their modules' names."""


def _checked(algorithm: type, location: str) -> type[TrainingAlgorithm]:
    if not issubclass(algorithm, TrainingAlgorithm):
        raise UserError(
            f"submission {location}: {algorithm.__name__} must be a subclass of timetrial.api.TrainingAlgorithm"
        )
    if algorithm.step is TrainingAlgorithm.step:
        raise UserError(f"submission {location}: {algorithm.__name__} must define step(self, task, batch)")
    return algorithm


def _is_own_algorithm(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, TrainingAlgorithm) and value.__module__ == module.__name__


def _split_class(location: str) -> tuple[str, str | None]:
    place, colon, class_name = location.rpartition(":")
    return (place, class_name) if colon and class_name.isidentifier() else (location, None)


def _import_path(path: Path) -> ModuleType:
    """Import a file, or a folder's submission.py with the folder on the import path for its other modules."""
    file = _entry_file(path)
    if file.suffix != ".py":
        raise UserError(f"submission {file}: expected a Python file that ends in .py")
    try:
        return import_file(file, _module_name(path), with_neighbours=path.is_dir())
    except Exception as error:
        raise UserError(f"submission {file}: cannot be imported: {type(error).__name__}: {error}") from error


def _module_name(path: Path) -> str:
    return f"timetrial_submission_{_hash(path)[:16]}"


def _module_file(location: str) -> Path:
    module = location.partition(":")[0]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(f"submission {location}: the module {module} is not installed")
    return Path(spec.origin)


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder and their names, caches left out."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(path.parent)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
