"""What happens to a contract's descriptors between protoc's two passes.

The schema of protovalidate is in no package as a file or as a module of google.protobuf. Its rules
are options; options survive in a descriptor whose file no longer imports their schema. So the
import is taken out before code is generated, and the generated code needs no `buf` package.
Comments, which generated code does not keep, are made options too: OpenAPI shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from google.protobuf.message import Message
from protovalidate._gen.buf.validate import validate_pb

from prodkit.v1 import options_pb2

_RULES = "buf/validate/validate.proto"
_File = descriptor_pb2.FileDescriptorProto


def rules_schema() -> descriptor_pb2.FileDescriptorSet:
    """Return protovalidate's schema with what it imports, for `protoc --descriptor_set_in`."""
    modules = (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2)
    schema = descriptor_pb2.FileDescriptorSet()
    for module in modules:
        module.DESCRIPTOR.CopyToProto(schema.file.add())
    schema.file.append(_File.FromString(validate_pb.desc().proto.to_binary()))
    return schema


def prepare(files: descriptor_pb2.FileDescriptorSet, sources: Sequence[str]) -> None:
    """Take protovalidate's schema out of `files`, and keep the comments of `sources`, in place."""
    kept = [file for file in files.file if file.name != _RULES]
    for file in kept:
        _drop_dependency(file, _RULES)
        if file.name in sources:
            _keep_comments(file)
    del files.file[:]
    files.file.extend(kept)


def _drop_dependency(file: _File, name: str) -> None:
    if name not in file.dependency:
        return
    gone = list(file.dependency).index(name)
    del file.dependency[gone]
    for indices in (file.public_dependency, file.weak_dependency):
        indices[:] = [index - (index > gone) for index in indices if index != gone]


def _keep_comments(file: _File) -> None:
    comments = {
        tuple(location.path): location.leading_comments or location.trailing_comments
        for location in file.source_code_info.location
    }
    for path, element in _elements(file):
        text = _clean(comments.get(path, ""))
        if text:
            extension = getattr(options_pb2, _EXTENSIONS[type(element)])
            element.options.Extensions[extension] = text  # type: ignore[attr-defined]


#: The option that keeps the comment of each kind of element.
_EXTENSIONS: dict[type[Message], str] = {
    descriptor_pb2.DescriptorProto: "message_description",
    descriptor_pb2.FieldDescriptorProto: "field_description",
    descriptor_pb2.EnumDescriptorProto: "enum_description",
    descriptor_pb2.ServiceDescriptorProto: "service_description",
    descriptor_pb2.MethodDescriptorProto: "method_description",
}


def _elements(file: _File) -> Iterator[tuple[tuple[int, ...], Message]]:
    """Yield everything that can have a description, with its path in the source info."""
    for number, message in enumerate(file.message_type):
        yield from _in_message((_File.MESSAGE_TYPE_FIELD_NUMBER, number), message)
    for number, enum in enumerate(file.enum_type):
        yield (_File.ENUM_TYPE_FIELD_NUMBER, number), enum
    for number, service in enumerate(file.service):
        path = (_File.SERVICE_FIELD_NUMBER, number)
        yield path, service
        for inner, method in enumerate(service.method):
            field = descriptor_pb2.ServiceDescriptorProto.METHOD_FIELD_NUMBER
            yield (*path, field, inner), method


def _in_message(
    path: tuple[int, ...], message: descriptor_pb2.DescriptorProto
) -> Iterator[tuple[tuple[int, ...], Message]]:
    yield path, message
    for number, field in enumerate(message.field):
        yield (*path, message.FIELD_FIELD_NUMBER, number), field
    for number, enum in enumerate(message.enum_type):
        yield (*path, message.ENUM_TYPE_FIELD_NUMBER, number), enum
    for number, nested in enumerate(message.nested_type):
        yield from _in_message((*path, message.NESTED_TYPE_FIELD_NUMBER, number), nested)


def _clean(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.strip().splitlines())
