"""The file that ships: encode a state, save it, load it, decode it exactly.

``Artifact.nbytes`` is the file's size, with indices, codebooks, biases, batch-norm and names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from hauberk.artifact import codec, format, table
from hauberk.artifact.ans import DamagedStream, Reader, Writer
from hauberk.artifact.bit_patterns import place_of
from hauberk.artifact.format import About, Architecture, ArtifactError
from hauberk.artifact.table import Entry, Stored
from hauberk.parametrize.factors import Factors
from hauberk.runtime import files
from hauberk.slimming.resize import changes


@dataclass(frozen=True)
class Layer:
    """One line of `hauberk inspect`.

    Attributes:
        name: in the state.
        shape: of the dense tensor.
        rank: inner size of factors; None where the tensor is stored itself.
        kept: stored non-zeros, over all factors.
        weights: elements of the dense tensor.
        bits: that tell one stored value from another.
        nbytes: its part of the stream, rounded.
        share: that part as a fraction of the file's bytes.
        position_bytes: of that part: where the non-zeros stand.
        code_bytes: of that part: which value of the codebook each has, or the values themselves.
        codebook_bytes: of that part: the codebook.
        position_entropy: bytes that no coder of these positions could be below, given the classes
            of rows and columns (and with those).
        code_entropy: the same of the codes: their entropy of zeroth order.
    """

    name: str
    shape: tuple[int, ...]
    rank: int | None
    kept: int
    weights: int
    bits: int
    nbytes: int
    share: float
    position_bytes: float
    code_bytes: float
    codebook_bytes: float
    position_entropy: float
    code_entropy: float

    @property
    def over_entropy(self) -> float:
        """Bytes over the entropy, as a fraction of it; the codebook counts as it is in both."""
        least = self.position_entropy + self.code_entropy + self.codebook_bytes
        total = self.position_bytes + self.code_bytes + self.codebook_bytes
        return total / least - 1 if least else 0.0


@dataclass(frozen=True)
class Artifact:
    """A compressed network as the bytes of its file.

    Attributes:
        content: the whole file.
        about: what its header says of the network.
    """

    content: bytes = field(repr=False)
    about: About
    _entries: tuple[Entry, ...] = field(repr=False)
    _stream: bytes = field(repr=False)

    @classmethod
    def encode(
        cls,
        state: Mapping[str, Tensor | Factors],
        *,
        architecture: Architecture | None,
        input_shape: tuple[int, ...],
        classes: int,
        dense_bytes: int | None = None,
        labels: Sequence[str] = (),
    ) -> Artifact:
        """``argmin`` of the file's bytes over exact representations of ``state``.

        Args:
            state: names to tensors, or to factors, which are kept where that is shorter; tensors
                that share their storage are stored once. A pruned weight must be +0: the file
                keeps the sign of a -0, which ``w * mask`` leaves and ``torch.where`` does not.
            architecture: how the network is built again; None for a user's own module.
            input_shape: of one input: (channel, height, width).
            classes: outputs.
            dense_bytes: of the dense net that ``state`` is a slim form of; None where it has the
                same shapes, which then say it.
            labels: names of the classes by index, where they are known.

        Raises:
            ValueError: NaN or infinite weights, an element type that no file holds, a state so
                large and empty that a reader would refuse it, a dense net smaller than the state,
                names that are not one for each class.
        """
        about = About(architecture, tuple(input_shape), classes, dense_bytes, tuple(labels))
        complaint = format.complaint(about)
        if complaint:
            raise ValueError(complaint)
        out = Writer()
        entries = tuple(_write_all(out, state))
        if dense_bytes is not None and dense_bytes < _dense_bytes(entries):
            raise ValueError(
                f"dense_bytes was given as {dense_bytes:,} and the state itself has "
                f"{_dense_bytes(entries):,}; give the bytes of the dense net."
            )
        stream = out.to_bytes()
        packed = table.pack(entries)
        if not _affordable(entries, packed, stream):
            raise ValueError(
                f"The state takes {len(stream):,} bytes for {_count(entries):,} weights, which "
                "a reader refuses as implausible; keep more weights."
            )
        return cls(format.pack(about, packed, stream), about, entries, stream)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The file") -> Artifact:
        """The artifact whose file is ``content``; ``name`` stands in errors.

        Raises:
            ArtifactError: empty, cut off, damaged, or not ours.
        """
        try:
            found = format.unpack(content)
            entries = table.unpack(found.table)
        except ArtifactError as error:
            raise ArtifactError(f"{name} {error}") from None
        except DamagedStream:
            raise ArtifactError(f"{name} {_INCONSISTENT}") from None
        about = found.about
        if not _affordable(entries, found.table, found.stream):
            raise ArtifactError(
                f"{name} claims {_count(entries):,} weights in {len(content):,} bytes, "
                "too many to be true; get a fresh copy of it."
            )
        if about.dense_bytes is not None and about.dense_bytes < _dense_bytes(entries):
            raise ArtifactError(f"{name} {_INCONSISTENT}")
        return cls(content, about, entries, found.stream)

    @classmethod
    def load(cls, path: str | Path) -> Artifact:
        """The artifact at ``path``.

        Raises:
            ArtifactError: the file is empty, cut off, damaged, or not ours.
            OSError: it is missing or cannot be read.
        """
        return cls.from_bytes(files.read(Path(path), "an .hbk file"), str(path))

    def save(self, path: str | Path) -> None:
        """Put the file at ``path``, whole or not at all.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        files.write(Path(path), self.content)

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the state, dense, to the bit as it was encoded; tied ones are one tensor.

        Raises:
            ArtifactError: the content was made by hand and holds no state.
        """
        return {entry.name: found.tensor for entry, found in self._decode()}

    def fill(self, model: nn.Module) -> nn.Module:
        """Load the state into ``model``, in place, and give it back in eval mode.

        Layers that are larger than in the file, which may be slim, are resized first; a model on
        the meta device comes to the CPU. A model that does not fit is left as it is.

        Raises:
            ValueError: names or shapes differ; the first five differences are listed.
        """
        state = self.state()
        have, want = shapes(state), shapes(model.state_dict())
        planned = list(changes(model, have))
        for change in planned:
            want |= change.state
        refuse_misfit(have, want, "The file", "give the model that was compressed")
        for change in planned:
            change.apply()
        _leave_meta(model)
        model.load_state_dict(state)
        return model.eval()

    def layers(self) -> list[Layer]:
        """The bytes of each stored tensor; a tied one is listed once."""
        return [
            _layer(entry, found, self.nbytes)
            for entry, found in self._decode()
            if entry.stored is not Stored.ALIAS
        ]

    @property
    def nbytes(self) -> int:
        """The file's size."""
        return len(self.content)

    @property
    def dense_bytes(self) -> int:
        """The dense net's floating-point weights and buffers as float32; tied ones count once.

        It has the shapes of this file, unless the file says that it is slim.
        """
        return self.about.dense_bytes or _dense_bytes(self._entries)

    def _decode(self) -> Iterator[tuple[Entry, codec.Decoded]]:
        done: list[codec.Decoded] = []
        try:
            source = Reader(self._stream)
            for entry in self._entries:
                if entry.stored is Stored.ALIAS:
                    done.append(done[entry.inner])
                else:
                    done.append(codec.read(source, entry, len(self._stream)))
            source.finish()
        except DamagedStream:
            raise ArtifactError(f"The file {_INCONSISTENT}") from None
        return zip(self._entries, done, strict=True)


def dense_bytes(state: Mapping[str, Tensor]) -> int:
    """Bytes of a state's floating-point tensors as dense float32; tied ones count once."""
    own = {_identity(name, tensor): tensor for name, tensor in state.items()}
    return 4 * sum(tensor.numel() for tensor in own.values() if tensor.is_floating_point())


_INCONSISTENT = "holds numbers that contradict each other; get a fresh copy of it."


def _layer(entry: Entry, found: codec.Decoded, file_bytes: int) -> Layer:
    return Layer(
        entry.name,
        entry.shape,
        entry.inner if entry.stored is not Stored.PLAIN else None,
        found.kept,
        entry.count,
        found.bits,
        round(found.nbytes),
        found.nbytes / file_bytes,
        *(bits / 8 for bits in found.parts),
    )


def _affordable(entries: Sequence[Entry], packed: bytes, stream: bytes) -> bool:
    return table.affordable(sum(e.need_bytes for e in entries), len(packed) + len(stream))


def _dense_bytes(entries: Sequence[Entry]) -> int:
    return 4 * sum(
        entry.count
        for entry in entries
        if entry.stored is not Stored.ALIAS and entry.kind.fraction_bits is not None
    )


def _count(entries: Sequence[Entry]) -> int:
    return sum(entry.count for entry in entries)


def _write_all(out: Writer, state: Mapping[str, Tensor | Factors]) -> Iterator[Entry]:
    places: dict[tuple[object, ...], int] = {}
    for place, (name, value) in enumerate(state.items()):
        first = places.setdefault(_identity(name, value), place)
        if first < place:
            dtype = (value.v if isinstance(value, Factors) else value).dtype
            shape = tuple(value.shape)
            yield Entry(name, Stored.ALIAS, place_of(dtype), shape, first)
        else:
            yield codec.write(out, name, value)


def _identity(name: str, value: Tensor | Factors) -> tuple[object, ...]:
    """Equal for values that share their memory; an empty tensor has none to share."""
    parts = value[:3] if isinstance(value, Factors) else (value,)
    if not all(part.numel() for part in parts):
        return (name,)
    return tuple((p.data_ptr(), p.dtype, p.shape, p.stride(), p.device) for p in parts)


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """By name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def refuse_misfit(
    have: Mapping[str, tuple[int, ...]],
    want: Mapping[str, tuple[int, ...]],
    source: str,
    advice: str,
) -> None:
    """Refuse shapes by name that differ from a model's; the first five differences are listed."""
    differences = list(_differences(have, want))
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise ValueError(
            f"{source} does not fit the model: {'; '.join(differences[:5])}{more}; {advice}."
        )


def _leave_meta(model: nn.Module) -> None:
    """Memory for a model on the meta device, which is filled from the state."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        known = model.state_dict().keys()
        for name, _ in model.named_buffers():
            if name not in known:
                raise ValueError(
                    f"The model is on the meta device and its buffer {name!r} is in no file; "
                    "give a model that was built on the CPU."
                )
        model.to_empty(device="cpu")


def _differences(
    have: Mapping[str, tuple[int, ...]], want: Mapping[str, tuple[int, ...]]
) -> Iterator[str]:
    for name, shape in want.items():
        if name not in have:
            yield f"{name} is missing from the file"
        elif have[name] != shape:
            yield f"{name} is {have[name]} in the file, {shape} wanted"
    for name in have:
        if name not in want:
            yield f"{name} is not in the model"
