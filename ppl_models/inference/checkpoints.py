"""Checkpoints: what a fit needs to go on from where it was, in one file that is whole at any moment.

Tensors are safetensors, the rest is JSON in the same file's header; nothing is pickled. The file is written beside its
place, synced to the disk and renamed over the former one, so that a process killed at any moment leaves the former
checkpoint or the new one.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from ppl_models.datasets.shares import from_first, gathered_by_first, rank_and_number
from ppl_models.errors import InputError
from ppl_models.evaluation.storage import whole_file

PLAIN = (str, int, float, bool, type(None))
State = Mapping[str, object]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Checkpoint:
    """Where a fit keeps its state.

    Attributes:
        path: the file.
        resume: whether to go on from the file, if it is there; else one that is there is refused.
        every: seconds between two writings; 0 for one at every evaluation.
    """

    path: str | Path
    resume: bool = False
    every: float = 60.0


class Keeper:
    """Writes the state of one fit now and then, and knows it from that of any other.

    Args:
        checkpoint: where, and how often.
        identity: what tells the fit from others, by name.
        together: whether it is the fit of several processes, each with a share of the rows.

    Raises:
        InputError: there is a file and it is not to be resumed from, or it is no checkpoint, or one of another fit.
    """

    def __init__(self, checkpoint: Checkpoint, identity: Mapping[str, str], *, together: bool = False) -> None:
        self.path, self.every, self.identity = Path(checkpoint.path), checkpoint.every, dict(identity)
        self.together = together
        self.rank, number = rank_and_number() if together else (0, 1)
        self.identity["processes"] = str(number)
        self.written = time.monotonic()
        found = self._from_first(self._found(resume=checkpoint.resume) if self.rank == 0 else None)
        self.kept: State | None = None if found is None else found["states"][self.rank]

    def _from_first(self, item: Item) -> Item:
        return from_first(item) if self.together else item

    def _found(self, *, resume: bool) -> State | None:
        """What the file holds, if it is there."""
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path}: expected a folder to keep the checkpoint in, found none")
        if not self.path.exists():
            return None
        if not resume:
            raise InputError(f"{self.path}: expected no file, found one; resume from it, or name another")
        found = read_checkpoint(self.path)
        theirs = found["identity"]
        different = next((name for name, value in self.identity.items() if theirs.get(name) != value), None)
        if different is not None:
            raise InputError(
                f"{self.path}: expected the checkpoint of this fit, got that of one with another {different}"
            )
        return found

    def keep(self, state: Callable[[], State]) -> None:
        """Write the states of all processes, which the first one does, if it is time to.

        Args:
            state: makes it; dicts, lists and tuples of tensors and plain values.
        """
        if not self._from_first(time.monotonic() - self.written >= self.every):
            return
        states = gathered_by_first(state()) if self.together else [state()]
        if self.rank:
            return
        try:
            write_checkpoint(self.path, {"identity": self.identity, "states": states})
        except OSError as problem:  # a full disk must not cost the fit
            warnings.warn(f"{self.path}: the state could not be kept: {problem}", stacklevel=2)
        self.written = time.monotonic()


def write_checkpoint(path: str | Path, state: State) -> None:
    """Write a state to a file, whole or not at all.

    Args:
        path: the file, replaced if it exists.
        state: dicts, lists and tuples of tensors and plain values.
    """
    tensors: dict[str, Tensor] = {}
    facts = json.dumps(_packed(state, "state", tensors))
    with whole_file(Path(path)) as file:
        file.write(safetensors.torch.save(tensors, metadata={"state": facts}))


def read_checkpoint(path: str | Path) -> State:
    """Read a state that ``write_checkpoint`` wrote, its tensors on the CPU.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            facts = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _unpacked(facts, tensors)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a checkpoint, found no file") from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: expected a checkpoint, got another file: {problem}") from problem


def _packed(value: object, name: str, tensors: dict[str, Tensor]) -> object:
    """A value as JSON, with its tensors put aside by number; the name is for who gave what no file can hold."""
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value.detach().cpu().clone().contiguous()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, Mapping):
        return {"dict": [[key, _packed(each, f"{name}.{key}", tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        kind = type(value).__name__
        return {kind: [_packed(each, f"{name}.{index}", tensors) for index, each in enumerate(value)]}
    if type(value) not in PLAIN:
        raise TypeError(f"{name}: expected a tensor, a plain value or a dict, list or tuple of them, got {type(value)}")
    return value


def _unpacked(value: object, tensors: Mapping[str, Tensor]) -> object:
    """The way back."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(each, tensors) for key, each in content}
    return {"list": list, "tuple": tuple}[kind](_unpacked(each, tensors) for each in content)
