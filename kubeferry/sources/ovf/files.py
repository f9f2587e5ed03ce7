"""The files of an export: one OVA, or an OVF with what lies beside it; its manifest held against them.

Nothing is extracted. Descriptor, manifest and small files are read and compared with their digests here; a disk's
digest goes into its URI and is compared when the disk has been read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from kubeferry.errors import InputInvalid, Problem
from kubeferry.images.vmdk import descriptor
from kubeferry.images.vmdk.header import SECTOR_BYTES
from kubeferry.model import Machine, SourceFact
from kubeferry.sources.facts.byte_marks import known, marked, no_text, of_xml
from kubeferry.sources.facts.file_names import name_problem
from kubeferry.sources.facts.leftovers import cut
from kubeferry.sources.facts.packing import GZIP, HEAD_BYTES, of_bytes, of_name
from kubeferry.sources.ovf import manifest as manifests
from kubeferry.sources.ovf.headers import held_against
from kubeferry.sources.ovf.machines import parse_ovf
from kubeferry.sources.ovf.manifest import Manifest, parse_manifest
from kubeferry.sources.ovf.references import File
from kubeferry.sources.ovf.tar_members import Member, read_members
from kubeferry.uris import Packed, Part

SUFFIXES = (".ova", ".ovf")
FOREIGN = "._"
"""How macOS begins the name of a file that holds what it knows of another: no export, whatever its end."""
LIMIT_DESCRIPTOR_BYTES = 4 << 20
_FLAT = ("FLAT", "VMFS")
NOTED_LINES = 20  # of a manifest, that say nothing
HASHED_BYTES = 16 << 20  # files up to this size are compared with the manifest here
AGAIN = "Get the file again from where the machine was exported."


@dataclass(frozen=True, slots=True)
class Export:
    """Files by name, and which of them describe: `where` is the OVA or OVF itself. `complete` is False for a
    descriptor whose disks need not be there."""

    where: Path
    members: dict[str, Member] | None
    descriptor: Member
    manifest: Manifest | None
    certificate: str | None
    complete: bool

    def find(self, href: str) -> Member | None:
        """A file by its reference, which may or may not be spelled with %XX; None where it is not there."""
        for name in dict.fromkeys((href.removeprefix("./"), unquote(href).removeprefix("./"))):
            found = self.members.get(name) if self.members is not None else beside(self.where, name)
            if found is not None:
                return found
        return None

    def digest(self, name: str) -> str:
        """`algorithm:hex` of the manifest, empty where it has none."""
        return self.manifest.digests.get(name.removeprefix("./"), "") if self.manifest else ""


def read_machines(path: Path, source: str, *, complete: bool = True, called: str | None = None) -> list[Machine]:
    """The machines of an OVA or OVF. With `complete`, its disks have to be there, as large as they are said to be.
    `called` is what their ids begin with, the file's name unless it is told. Raises InputInvalid with all problems of
    the file."""
    if (odd := name_problem(path)) is not None:
        raise InputInvalid(f"{odd.where} cannot be read as an export", [odd])
    export = _open(path, complete=complete)
    problems = _compared(export)
    if problems:
        raise InputInvalid(f"{path} is not what its manifest says", problems)
    text = _text(export.descriptor)
    missing: list[Problem] = []

    def locate(file: File, shape: str | None, stream: bool) -> str | None:
        try:
            return uri_of(export, file, shape, stream=stream)
        except InputInvalid as error:
            missing.extend(error.problems)
            return None

    where = str(path) if export.members is None else f"{path}/{export.descriptor.name}"
    machines = parse_ovf(text, source=source, where=where, name=called or path.name, locate=locate)
    if missing:
        raise InputInvalid(f"{path} lacks files", missing)
    noted = _noted(export)
    return [held_against(one.model_copy(update={"unmodelled": (*one.unmodelled, *noted)})) for one in machines]


def _noted(export: Export) -> tuple[SourceFact, ...]:
    """What of the export could not be checked."""
    noted = []
    if export.certificate is not None:
        noted.append(SourceFact(path="certificate", value=f"{export.certificate}: the signature was not checked"))
    if export.manifest is not None:
        unread = [f"{line} is no digest that is known" for line in export.manifest.unread]
        if export.descriptor.name not in export.manifest.digests:
            unread.insert(0, f"{export.descriptor.name!r} has no digest")
        if export.complete:
            absent = [name for name in export.manifest.digests if export.find(name) is None]
            unread = [*(f"{name[:80]!r} is not there" for name in absent), *unread]
        more = [f"{len(unread) - NOTED_LINES} more"] if len(unread) > NOTED_LINES else []
        shown = enumerate([*unread[:NOTED_LINES], *more], 1)
        noted += [SourceFact(path=f"manifest[{number}]", value=cut(what)) for number, what in shown]
    return tuple(noted)


# --- where a disk lies ---


def uri_of(export: Export, file: File, shape: str | None, *, stream: bool) -> str:
    """The URI of a disk of the format `shape`. Raises InputInvalid where its file, or a chunk of it, is not there."""
    names = _chunks(file)
    found = [export.find(name) for name in names]
    missing = [name for name, member in zip(names, found, strict=True) if member is None]
    if missing:
        if not export.complete:
            return f"file:{quote(file.href)}"
        fix = "Bring the file back; it belongs to the export."
        raise _wrong(export.where, [Problem(file.where, f"{missing[0][:80]!r} is not there", fix)])
    members = [member for member in found if member is not None]
    size = sum(member.size for member in members)
    gzip = file.gzip or _is_gzip(file, shape, members[0])
    if file.size is not None and size != file.size and not gzip:  # products differ in which size they tell then
        raise _wrong(export.where, [Problem(file.where, f"{file.href!r} has {size} bytes, not {file.size}", AGAIN)])
    digests = [export.digest(name) or export.digest(unquote(name)) for name in names]
    whole = export.members is None and len(members) == 1 and not gzip
    if shape == "qcow2" and whole and not any(digests):
        return members[0].path.as_uri()
    parts = (
        Part(member.path, member.offset, member.size, digest) for member, digest in zip(members, digests, strict=True)
    )
    if shape == "vmdk" and export.members is not None and (flat := _flat(export, members)):
        return Packed("raw+file", flat).uri()
    scheme = {"vmdk": "vmdk-stream+file" if stream else "vmdk+file"}.get(shape or "", "raw+file")
    return Packed(scheme, tuple(parts), gzip=gzip).uri()


def _flat(export: Export, members: list[Member]) -> tuple[Part, ...]:
    """The disk's bytes where its file is the descriptor of a flat VMDK in an archive, and the files that it names are
    there, too; none for any other. An extent that is a whole file has its digest."""
    first = members[0]
    if len(members) > 1 or first.size > descriptor.LIMIT_BYTES:
        return ()
    try:
        content = _read(first, descriptor.LIMIT_BYTES)
        told = descriptor.parse(content) if descriptor.is_descriptor(content) else None
    except (InputInvalid, ValueError):  # what cannot be read says so when it is
        return ()
    parts = []
    for one in told.parts if told is not None and not told.has_parent else ():
        member = export.find(str(PurePosixPath(first.name).parent / one.name)) if one.kind in _FLAT else None
        length, start = one.sectors * SECTOR_BYTES, one.offset * SECTOR_BYTES
        if member is None or start + length > member.size:
            return ()
        digest = export.digest(member.name) if length == member.size else ""
        parts.append(Part(member.path, member.offset + start, length, digest))
    return tuple(parts)


def _is_gzip(file: File, shape: str | None, first: Member) -> bool:
    """Whether a disk is packed with gzip though its OVF does not say so. No format but raw bytes can begin like a
    packing; of those the name has to say it, too. Raises InputInvalid for another packing."""
    try:
        packing = of_bytes(_pread(first, 0, HEAD_BYTES)) if first.size >= HEAD_BYTES else None
    except InputInvalid:  # what cannot be read says so when it is
        return False
    if packing is None or (shape in {"raw", None} and of_name(unquote(file.href)) is not packing):
        return False
    if packing is GZIP:
        return True
    fix = f"Unpack it beside the OVF (`{packing.unpack}`), and write its new name into the OVF."
    raise _wrong(
        first.path, [Problem(file.where, f"{file.href[:80]!r} is packed with {packing.name}, and not read", fix)]
    )


def _chunks(file: File) -> list[str]:
    if file.chunk_bytes is None or file.size is None:
        return [file.href]
    return [f"{file.href}.{number:09}" for number in range(-(-file.size // file.chunk_bytes))]


def beside(descriptor: Path, name: str) -> Member | None:
    """A regular file in the descriptor's folder or below it, links followed only as far as they stay there."""
    path = descriptor.parent / name
    try:
        inside = path.resolve(strict=True).is_relative_to(descriptor.parent.resolve(strict=True))
        found = path.stat()
    except (OSError, ValueError, RuntimeError):
        return None
    return Member(name, path, 0, found.st_size) if inside and stat.S_ISREG(found.st_mode) else None


# --- descriptor and manifest ---


def _open(path: Path, *, complete: bool) -> Export:
    path = Path(os.path.abspath(path))  # noqa: PTH100 (links stay as they are named)
    if path.suffix.lower() != ".ova":
        descriptor = beside(path, path.name)
        if descriptor is None:
            raise _wrong(path, [Problem(str(path), "it is not a file that can be read here", "Check its path.")])
        manifest, certificate = beside(path, f"{path.stem}.mf"), beside(path, f"{path.stem}.cert")
        return _export(path, None, descriptor, manifest, certificate, complete=complete)
    _not_packed(Member(path.name, path, 0, _size_of(path)))
    members = _members(path)
    named = {suffix: [one for one in members.values() if one.name.lower().endswith(suffix)]
             for suffix in (".ovf", ".mf", ".cert")}  # fmt: skip
    problems = [
        Problem(str(path), f"{len(found)} files of the kind {suffix} are in it", AGAIN)
        for suffix, found in named.items()
        if len(found) > 1 or (suffix == ".ovf" and not found)
    ]
    if problems:
        raise _wrong(path, problems)
    first = {suffix: found[0] if found else None for suffix, found in named.items()}
    return _export(path, members, named[".ovf"][0], first[".mf"], first[".cert"], complete=True)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # what cannot be read says so when it is
        return 0


def _not_packed(member: Member) -> None:
    """Refuse an archive or descriptor that is packed as a whole: to read it where it lies would be to unpack all of it
    for each disk."""
    if member.size < HEAD_BYTES or (packing := of_bytes(_pread(member, 0, HEAD_BYTES))) is None:
        return
    what = f"it is packed with {packing.name}, and not read where it lies"
    fix = f"Unpack it, and give what is in it: `{packing.unpack}`."
    raise _wrong(member.path, [Problem(f"{member.path}: offset {member.offset}", what, fix)])


def _members(path: Path) -> dict[str, Member]:
    """The files of an OVA by their names from the descriptor's folder on; without those that macOS adds."""
    found = [one for one in read_members(path) if not _is_foreign(one.name)]
    folders = {PurePosixPath(one.name).parent for one in found if one.name.lower().endswith(".ovf")}
    if len(folders) != 1 or folders == {PurePosixPath()}:
        return {member.name: member for member in found}
    folder = f"{folders.pop()}/"
    inside = {one.name.removeprefix(folder): one for one in found if one.name.startswith(folder)}
    return {name: replace(one, name=name) for name, one in inside.items()}


def _is_foreign(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[-1].startswith(FOREIGN) or parts[0] == "__MACOSX"


def _export(
    where: Path,
    members: dict[str, Member] | None,
    descriptor: Member,
    manifest: Member | None,
    certificate: Member | None,
    *,
    complete: bool,
) -> Export:
    _not_packed(descriptor)
    told = None
    if manifest is not None:
        content = _read(manifest, manifests.LIMIT_BYTES)
        text = content.decode(marked(content) or "utf-8", errors="replace")
        told, problems = parse_manifest(text, f"{where}/{manifest.name}" if members is not None else str(manifest.path))
        if problems:
            raise InputInvalid(f"the manifest of {where} cannot be read", problems)
    return Export(where, members, descriptor, told, certificate.name if certificate else None, complete)


def _compared(export: Export) -> list[Problem]:
    """What of the manifest is not so: small files with another digest."""
    if export.manifest is None:
        return []
    problems = []
    for name, digest in (*export.manifest.digests.items(), *export.manifest.weaker):
        member = export.find(name)
        if member is None:  # it is told; where it is a disk, that is refused when the disk is looked for
            continue
        if member.size <= HASHED_BYTES and (found := digest_of(member, digest)) != digest:
            what = f"{name[:80]!r} is not what the manifest says: its digest is {found}, not {digest}"
            problems.append(Problem(f"{member.path}: offset {member.offset}", what, AGAIN))
    return problems


def digest_of(member: Member, like: str) -> str:
    """The digest of a file by the algorithm of another digest."""
    algorithm = like.partition(":")[0]
    hashing = hashlib.new(algorithm, usedforsecurity=False)
    at = 0
    while at < member.size:
        piece = _pread(member, at, min(1 << 20, member.size - at))
        hashing.update(piece)
        at += len(piece)
    return f"{algorithm}:{hashing.hexdigest()}"


def _text(member: Member) -> str:
    """The descriptor's text in the encoding that it names. Raises InputInvalid."""
    content = _read(member, LIMIT_DESCRIPTOR_BYTES)
    encoding = of_xml(content)
    where, fix = f"{member.path}: {member.name}", "Save it as UTF-8."
    if not known(encoding):
        raise _wrong(member.path, [Problem(where, f"the encoding {encoding} is not read", fix)])
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _wrong(member.path, [Problem(where, no_text(error), fix)]) from error


def _read(member: Member, limit: int) -> bytes:
    if member.size > limit:
        what = f"{member.name!r} has {member.size} bytes, at most {limit} are read"
        raise _wrong(member.path, [Problem(f"{member.path}: offset {member.offset}", what, AGAIN)])
    return _pread(member, 0, member.size)


def _pread(member: Member, at: int, count: int) -> bytes:
    try:
        fd = os.open(member.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.pread(fd, count, member.offset + at)
        finally:
            os.close(fd)
    except OSError as error:
        what = error.strerror or str(error)
        raise _wrong(member.path, [Problem(str(member.path), what, "Check its permissions.")]) from error
    if len(found) < count:
        offset = member.offset + at + len(found)
        raise _wrong(member.path, [Problem(f"{member.path}: offset {offset}", "it ends there", AGAIN)])
    return found


def _wrong(path: Path, problems: list[Problem]) -> InputInvalid:
    return InputInvalid(f"{path} cannot be read as an export", problems)
