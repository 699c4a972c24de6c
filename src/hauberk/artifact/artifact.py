"""The compressed file: encode a state, save it, load it, and decode it exactly.

``Artifact.nbytes`` is the size of the whole file: indices, codebooks, biases, batch-norm and names
are included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from hauberk.artifact import answer as answers
from hauberk.artifact import codec, format, table
from hauberk.artifact.ans import DamagedStream, Reader, Writer
from hauberk.artifact.bit_patterns import place_of
from hauberk.artifact.format import About, Architecture, ArtifactError
from hauberk.artifact.layers import Layer, layer_of
from hauberk.artifact.table import Entry, Stored
from hauberk.parametrize.factors import Factors
from hauberk.preparation import AS_IS, Preparation
from hauberk.runtime import files
from hauberk.slimming.resize import changes


@dataclass(frozen=True)
class Artifact:
    """A compressed network as the bytes of its file.

    Attributes:
        content: the whole file.
        about: the header's description of the network.
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
        preparation: Preparation = AS_IS,
        answer: str = "",
    ) -> Artifact:
        """The smallest file that represents ``state`` exactly.

        Args:
            state: tensors or factors by name. Factors are stored if they take fewer bytes than
                their product. Tensors that share storage are stored once. A pruned weight must be
                +0: the file keeps the sign of -0, which ``w * mask`` produces and ``torch.where``
                does not.
            architecture: name and arguments that rebuild the network; None for a user's own module.
            input_shape: shape of one input, (channel, height, width).
            classes: number of outputs; 0 for an image-to-image network.
            dense_bytes: float32 bytes of the dense net if ``state`` is structurally shrunk; None
                if it has the dense net's shapes.
            labels: class names by index; empty if unknown.
            preparation: how images were prepared for the network.
            answer: of the network, see `answered`, or a blank one, to price a file.

        Raises:
            ValueError: the weights are NaN or infinite, an element type is not supported, a reader
                would refuse a state this large in so few bytes, ``dense_bytes`` is smaller than
                the state, or the number of labels is not the number of classes.
        """
        shape, names = tuple(input_shape), tuple(labels)
        about = About(architecture, shape, classes, dense_bytes, names, preparation, answer)
        complaint = format.complaint(about)
        if complaint:
            raise ValueError(complaint)
        out = Writer()
        entries = tuple(_write_all(out, state))
        if dense_bytes is not None and dense_bytes < _dense_bytes(entries):
            raise ValueError(
                f"dense_bytes was given as {dense_bytes:,} and the state has "
                f"{_dense_bytes(entries):,}; give the float32 bytes of the dense net."
            )
        stream = out.to_bytes()
        packed = table.pack(entries)
        if not _affordable(entries, packed, stream):
            raise ValueError(
                f"The state takes {len(stream):,} bytes for {_count(entries):,} weights, which "
                "a reader refuses as implausible; keep more weights."
            )
        return cls(format.pack(about, packed, stream), about, entries, stream)

    def answered(self, model: nn.Module) -> Artifact:
        """The same file with the answer of its network, by which other code is told apart.

        Args:
            model: the network decoded from the file.
        """
        about = replace(self.about, answer=answers.answer(model, self.about.input_shape))
        content = format.pack(about, table.pack(self._entries), self._stream)
        return replace(self, content=content, about=about)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The file") -> Artifact:
        """The artifact whose file has the bytes ``content``; errors call it ``name``.

        Raises:
            ArtifactError: the file is empty, cut off, damaged, or not a hauberk file.
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
                "which is implausible; get a fresh copy of it."
            )
        if about.dense_bytes is not None and about.dense_bytes < _dense_bytes(entries):
            raise ArtifactError(f"{name} {_INCONSISTENT}")
        return cls(content, about, entries, found.stream)

    @classmethod
    def load(cls, path: str | Path) -> Artifact:
        """The artifact at ``path``.

        Raises:
            ArtifactError: the file is empty, cut off, damaged, or not a hauberk file.
            OSError: it is missing or cannot be read.
        """
        return cls.from_bytes(files.read(Path(path), "an .hbk file"), str(path))

    def save(self, path: str | Path) -> None:
        """Write the file to ``path`` atomically.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        files.write(Path(path), self.content)

    def state(self) -> dict[str, Tensor]:
        """The dense tensors by name, bit-exact; tied names map to the same tensor.

        Raises:
            ArtifactError: the stream is inconsistent, though its checksum is right.
        """
        return {entry.name: found.tensor for entry, found in self._decode()}

    def fill(self, model: nn.Module) -> nn.Module:
        """Load the state into ``model`` in place and return the model in eval mode.

        If the file is structurally shrunk, larger layers of the model are resized first. A model
        on the meta device is moved to the CPU. A model that does not fit is left unchanged.

        Raises:
            ValueError: names or shapes differ; the message lists the first of each kind.
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
        """The size of each stored tensor; tied tensors are listed once."""
        return [
            layer_of(entry, found, self.nbytes)
            for entry, found in self._decode()
            if entry.stored is not Stored.ALIAS
        ]

    @property
    def nbytes(self) -> int:
        """The file's size in bytes."""
        return len(self.content)

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense net's weights and floating-point buffers in float32.

        Tied tensors count once. The dense net has the shapes of this file unless the header gives
        the size of a larger one.
        """
        return self.about.dense_bytes or _dense_bytes(self._entries)

    def _decode(self) -> Iterator[tuple[Entry, codec.DecodedTensor]]:
        done: list[codec.DecodedTensor] = []
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
    """Bytes of a state's floating-point tensors in dense float32; tied tensors count once."""
    own = {_identity(name, tensor): tensor for name, tensor in state.items()}
    return 4 * sum(tensor.numel() for tensor in own.values() if tensor.is_floating_point())


_INCONSISTENT = "holds numbers that contradict each other; get a fresh copy of it."


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
    """A key that is equal for values in the same memory; an empty tensor is keyed by its name."""
    parts = value[:3] if isinstance(value, Factors) else (value,)
    if not all(part.numel() for part in parts):
        return (name,)
    return tuple((p.data_ptr(), p.dtype, p.shape, p.stride(), p.device) for p in parts)


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of a state's tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def refuse_misfit(
    have: Mapping[str, tuple[int, ...]],
    want: Mapping[str, tuple[int, ...]],
    source: str,
    advice: str,
) -> None:
    """Check that a state fits a model.

    Args:
        have: shapes in the file, by name.
        want: shapes in the model, by name.
        source: subject of the error, such as the file's path.
        advice: end of the error, without its full stop.

    Raises:
        ValueError: names or shapes differ; the message lists the first of each kind.
    """
    kinds = _differences(have, want)
    count = sum(map(len, kinds))
    if count:
        listed = [text for kind in kinds for text in kind[:_FEW]]
        more = f" and {count - len(listed)} more" if count > len(listed) else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(listed)}{more}; {advice}.")


def _leave_meta(model: nn.Module) -> None:
    """Allocate a model that is on the meta device; the state fills it afterwards."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        known = model.state_dict().keys()
        for name, _ in model.named_buffers():
            if name not in known:
                raise ValueError(
                    f"The model is on the meta device and its buffer {name!r} is not in the file; "
                    "give a model that was built on the CPU."
                )
        model.to_empty(device="cpu")


_FEW = 3  # differences of each kind that an error lists


def _differences(
    have: Mapping[str, tuple[int, ...]], want: Mapping[str, tuple[int, ...]]
) -> tuple[list[str], list[str], list[str]]:
    """Names that the file lacks, tensors of another shape, names that the model lacks."""
    return (
        [f"{name} is missing from the file" for name in want if name not in have],
        [
            f"{name} is {have[name]} in the file and {shape} in the model"
            for name, shape in want.items()
            if have.get(name, shape) != shape
        ],
        [f"{name} is not in the model" for name in have if name not in want],
    )
