"""What an ONNX file may not contain when it comes from someone else.

A graph can name files beside it as *external data* and operators of *custom domains*, which runtimes load
from shared libraries. Neither belongs in a bundle. Serving has no ``onnx`` package, so the file is walked
on the protobuf wire level: only the length-delimited fields that can lead to a tensor or an operator set are
entered, and raw weights are skipped by their length (90 MB take a few milliseconds).

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 100  # of nested messages; the protobuf libraries' own limit
_MAX_KEY = 2**32 - 1  # of a longer one runtimes keep 32 bits: to them it is another field
_MAX_FIELDS = 2_000_000  # MiniLM has 5,000; walking a file made of nothing else would take minutes

# message → {field number: name of the message inside it}
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 8: "OperatorSet", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Function": {7: "Node", 9: "OperatorSet", 11: "Attribute"},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_DOMAIN_FIELDS = {("Node", 7, _BYTES), ("Function", 10, _BYTES)}
_OPERATOR_SET_DOMAIN, _OPERATOR_SET_VERSION = 1, 2
_MODEL_IR_VERSION = 1


class MalformedOnnxError(ValueError):
    """The bytes are not a protobuf message of the expected form."""


@dataclass
class OnnxFacts:
    """What the walk found.

    :param ir_version: format version that the file states; 0 where it states none.
    :param opset: version of the default operator set; 0 where it states none.
    :param domains: all operator domains that the file imports or uses.
    :param external_data: whether a tensor points to another file.
    :param fields: how many fields were visited.
    """

    ir_version: int = 0
    opset: int = 0
    domains: set[str] = field(default_factory=set)
    external_data: bool = False
    fields: int = 0


def read_onnx_facts(path: Path) -> OnnxFacts:
    """Walk an ONNX file without loading it.

    :param path: the ``.onnx`` file.
    :returns: what it imports and points to.
    :raises MalformedOnnxError: the file is empty, cut off or no protobuf at all.
    """
    facts = OnnxFacts()
    if path.stat().st_size == 0:
        raise MalformedOnnxError("the file is empty")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _walk(data, 0, len(data), "Model", facts, depth=0)
    if not facts.ir_version:
        raise MalformedOnnxError("no ir_version was found")
    return facts


def _walk(data: mmap.mmap, begin: int, end: int, message: str, facts: OnnxFacts, *, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MalformedOnnxError(f"messages are nested more than {_MAX_DEPTH} deep")
    children = _CHILDREN.get(message, {})
    domain, version = "", 0
    for number, wire, value, value_end in _fields(data, begin, end):
        facts.fields += 1
        if facts.fields > _MAX_FIELDS:
            raise MalformedOnnxError(f"more than {_MAX_FIELDS:,} fields; weights belong into raw_data")
        if wire == _BYTES and number in children:
            _walk(data, value, value_end, children[number], facts, depth=depth + 1)
        elif message == "Tensor" and (number, wire) == (_TENSOR_EXTERNAL_DATA, _BYTES):
            facts.external_data = True
        elif message == "Tensor" and (number, wire) == (_TENSOR_DATA_LOCATION, _VARINT):
            facts.external_data |= value != 0
        elif (message, number, wire) in _DOMAIN_FIELDS:
            facts.domains.add(_text(data, value, value_end))
        elif message == "OperatorSet" and (number, wire) == (_OPERATOR_SET_DOMAIN, _BYTES):
            domain = _text(data, value, value_end)
        elif message == "OperatorSet" and (number, wire) == (_OPERATOR_SET_VERSION, _VARINT):
            version = value
        elif message == "Model" and (number, wire) == (_MODEL_IR_VERSION, _VARINT):
            facts.ir_version = value
    if message == "OperatorSet":
        facts.domains.add(domain)
        if domain in ("", "ai.onnx"):
            facts.opset = version


def _text(data: mmap.mmap, begin: int, end: int) -> str:
    try:
        return data[begin:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedOnnxError("an operator domain is not UTF-8") from error


def _fields(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, value, end): the number of a varint, the offsets of a bytes field."""
    position = begin
    while position < end:
        key, position = _varint(data, position, end)
        number, wire = key >> 3, key & 7
        if not number or key > _MAX_KEY:
            raise MalformedOnnxError("a field has no valid number")
        if wire == _VARINT:
            value, position = _varint(data, position, end)
            yield number, wire, value, position
        elif wire == _BYTES:
            length, position = _varint(data, position, end)
            if position + length > end:
                raise MalformedOnnxError("a field reaches beyond the end of the file")
            yield number, wire, position, position + length
            position += length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
            yield number, wire, position, position
        else:
            raise MalformedOnnxError(f"wire type {wire} does not occur in ONNX files")
    if position != end:
        raise MalformedOnnxError("a field reaches beyond the end of its message")


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise MalformedOnnxError("a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedOnnxError("a number is longer than ten bytes")
