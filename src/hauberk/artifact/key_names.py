"""Names of a checkpoint's tensors, matched to a model's: prefixes and wrappers of training code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Components that ``DataParallel``, ``torch.compile``, ``FSDP`` and activation checkpoints add."""
_COUNTER = "num_batches_tracked"  # torch keeps the model's own where a file lacks it
_FEW = 3


@dataclass(frozen=True)
class Matched:
    """The tensor of the file for each name of the model.

    Attributes:
        names: name in the file by name in the model; a name that the file lacks is left out.
        extra: names in the file that the model has no place for.
        note: how the names were changed, one line without the file's name; empty if they were not.
    """

    names: Mapping[str, str]
    extra: Sequence[str] = ()
    note: str = ""


def matched(have: Iterable[str], want: Iterable[str]) -> Matched:
    """Match the names of a checkpoint to those of a model.

    Names that are equal are taken first. Otherwise wrappers such as ``module`` are ignored
    wherever they stand, and one prefix may be removed from the names of the file or added to them,
    if exactly one choice gives all names of the model.

    Args:
        have: names in the file.
        want: names in the model.

    Raises:
        ValueError: several prefixes fit; the message is the end of a one-line error.
    """
    have, want = list(have), list(want)
    held, wanted = set(have), set(want)
    direct = Matched({n: n for n in want if n in held}, [n for n in have if n not in wanted])
    if _complete(direct.names, want) and not direct.extra:
        return direct
    kinds = [({n: n for n in have}, {n: n for n in want}), (_bare(have), _bare(want))]
    fits = [
        fit
        for files, own in kinds
        if len(files) == len(have) and len(own) == len(want)  # no two differ in a wrapper alone
        for fit in _fits(files, own)
        if _complete(fit.names, want)
    ]
    if len({tuple(fit.names.values()) for fit in fits}) > 1:
        offered = " and ".join(dict.fromkeys(repr(_prefix(fit)) for fit in fits))
        raise ValueError(
            f"has weights of this architecture under several prefixes, {offered}; save those of one"
        )
    return fits[0] if fits else direct


def _bare(names: Sequence[str]) -> dict[str, str]:
    """The names by what is left of them without wrappers."""
    return {".".join(p for p in n.split(".") if p not in _WRAPPERS): n for n in names}


def _complete(names: Mapping[str, str], want: Sequence[str]) -> bool:
    return bool(names) and all(n in names or n.rpartition(".")[2] == _COUNTER for n in want)


def _fits(files: Mapping[str, str], own: Mapping[str, str]) -> Iterator[Matched]:
    """One candidate for each prefix that the file's names may lose, or the model's have more."""
    for lost in _prefixes(files):
        inside = {n.removeprefix(lost): full for n, full in files.items() if n.startswith(lost)}
        for added in _common(own):
            names = {
                full: inside[n.removeprefix(added)]
                for n, full in own.items()
                if n.removeprefix(added) in inside
            }
            taken = set(names.values())
            extra = [full for full in files.values() if full not in taken]
            outside = [full for n, full in files.items() if not n.startswith(lost)]
            if extra == outside:  # within the prefix nothing is left over
                yield Matched(names, [], _note(names, extra))


def _prefixes(names: Iterable[str]) -> list[str]:
    """Every dotted prefix that some name has, the empty one first; a number is a layer's place."""
    found = dict.fromkeys([""])
    for name in names:
        parts = [*takewhile(lambda p: not p.isdecimal(), name.split(".")[:-1]), ""]
        found |= dict.fromkeys(".".join(parts[:i]) + "." for i in range(1, len(parts)))
    return list(found)


def _common(names: Iterable[str]) -> list[str]:
    """Every dotted prefix that all names have, the empty one first."""
    names = list(names)
    return [p for p in _prefixes(names[:1]) if all(n.startswith(p) for n in names)]


def _prefix(fit: Matched) -> str:
    own, file = next(iter(fit.names.items()))
    return file.removesuffix(own)


def _note(names: Mapping[str, str], extra: Sequence[str]) -> str:
    """For instance: 18 names lost the prefix 'module.'; 2 others are left out (loss.weight, …)."""
    changed = [(own, file) for own, file in names.items() if own != file]
    lost = {file.removesuffix(own) for own, file in changed}
    added = {own.removesuffix(file) for own, file in changed}
    if not changed:
        said = f"{len(names)} names fit"
    elif len(lost) == 1 and changed[0][1].endswith(changed[0][0]):
        said = f"{len(changed)} names lost the prefix {lost.pop()!r}"
    elif len(added) == 1 and changed[0][0].endswith(changed[0][1]):
        said = f"{len(changed)} names were given the prefix {added.pop()!r}"
    else:
        own, file = changed[0]
        said = f"{len(changed)} names were matched, such as {file!r} to {own!r}"
    if extra:
        more = ", …" if len(extra) > _FEW else ""
        said += f"; {len(extra)} others are left out ({', '.join(extra[:_FEW])}{more})"
    return said
