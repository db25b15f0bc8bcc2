"""Reader of the folder that an RMS meteor station leaves behind after a night.

The camera is the station code that the files carry; ``.config`` may have been copied from another station
of the same owner, so its ``stationID`` does not decide. The configuration itself is read but never stored:
it may hold the password of the camera and of the upload.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from meteorpi_db.ingest.base import (
    DamageItem,
    FileItem,
    Folder,
    IngestOptions,
    Item,
    LeftOutItem,
    Reader,
    StatusItem,
)
from meteorpi_db.ingest.damage import find_damage, read_fits_header
from meteorpi_db.ingest.rms_detections import DETECTIONS_HEADER, Detection, Detections, parse_detections
from meteorpi_db.ingest.rms_events import best_match, event_of, match_at
from meteorpi_db.ingest.rms_formats import parse_ff_name, parse_night_name
from meteorpi_db.ingest.rms_names import CONFIG_NAME, NAMESPACE, describe, detections_variant
from meteorpi_db.ingest.rms_setup import is_setup_file, read_setup
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.records import Meta
from meteorpi_model.values import NSString, now, truncate_to_milliseconds

_MANUAL = "manual"


@dataclass
class _Night:
    """What the names of a folder tell.

    Attributes:
        camera_id: the station code most files carry.
        start: UTC start of the capture, the time of what names no other.
        earliest: the earliest time any file names.
        mark: name of the file by which the folder was recognised; None when it is gone since.
        recordings: names of pictures and videos by the FF recording they show.
        detections: names of FTPdetectinfo files by variant.
        measurements: names of ECSV files.
    """

    camera_id: str
    start: datetime
    earliest: datetime
    mark: str | None
    recordings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    detections: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    measurements: list[str] = field(default_factory=list)

    @property
    def valid_from(self) -> datetime:
        """From when on the set-up of this night was in force."""
        return truncate_to_milliseconds(min(self.start, self.earliest))


class RmsReader(Reader):
    """Takes a night of an RMS station: its set-up, its files, and a meteor for each detection."""

    name = "rms"
    has_events = True

    def recognises(self, folder: Folder) -> bool:
        """Whether there is a detections file or a capture that is one by its content, too."""
        return _find_mark(folder) is not None

    def read(self, folder: Folder, options: IngestOptions) -> Iterator[Item]:
        """The set-up, then every file, then the detections; these wait until the folder is quiet."""
        if not _can_begin(folder, options):
            folder.hold_back(folder.wanted_names())
            return
        night = _survey(folder)
        setup = read_setup(folder, night.camera_id, options.facts)
        damaged = {item.path.name for item in setup.damaged}
        yield from (item for item in setup.damaged if folder.is_wanted(item.path.name))
        yield StatusItem(camera_id=night.camera_id, valid_from=night.valid_from, facts=setup.facts)
        if not folder.is_quiet:
            folder.hold_back(name for name in folder.wanted_names() if _waits(name))
        read = _read_detections(folder, night) if folder.is_quiet else {}
        for name in sorted(folder.wanted_names()):
            if name not in damaged and name not in folder.held_back:
                yield _read_file(folder, night, name, read.get(name))
        yield from _read_events(folder, night, read)


def _can_begin(folder: Folder, options: IngestOptions) -> bool:
    """Everything depends on where the camera stands; and an event shows files that a move takes away."""
    is_set_up = all(folder.is_settled(name) for name in folder.names() if is_setup_file(name))
    return is_set_up and (folder.is_quiet or not options.move)


def _find_mark(folder: Folder) -> str | None:
    """A file by which the folder is known to be a night of an RMS station."""
    candidates = (name for name in folder.names() if name.startswith(("FTP", "FF")))
    return next((name for name in candidates if _is_rms_file(folder.path / name)), None)


def _is_rms_file(path: Path) -> bool:
    """Judged by content; a damaged file says nothing."""
    if detections_variant(path.name) is not None:
        with path.open("rb") as stream:
            return stream.read(len(DETECTIONS_HEADER)) == DETECTIONS_HEADER.encode()
    try:
        parse_ff_name(path.name)
        with path.open("rb") as stream:
            return "NFRAMES" in (read_fits_header(stream) or {})
    except InvalidDocumentError:
        return False


def _waits(name: str) -> bool:
    """Whether the file is understood only together with the others of the folder."""
    return detections_variant(name) is not None or name.endswith(".ecsv")


def _survey(folder: Folder) -> _Night:
    codes: Counter[str] = Counter()
    times: list[datetime] = []
    names = list(folder.names())
    for name in names:
        described = describe(name)
        if described.code is not None:
            # A purely numeric code belongs to the copy of the detections made for CAMS.
            codes[described.code] += 0 if described.code.isdigit() else 1
        if described.time is not None:
            times.append(described.time)
    camera_id = codes.most_common(1)[0][0]
    earliest = min(times, default=now())
    start = _night_start(folder, names, camera_id) or earliest
    night = _Night(camera_id, start, earliest, _find_mark(folder))
    for name in names:
        _sort_in(night, name)
    return night


def _night_start(folder: Folder, names: list[str], camera_id: str) -> datetime | None:
    """From the name of the folder, of the detections, or of anything that is named like a night."""
    main = [name.removeprefix("FTPdetectinfo_") for name in names if detections_variant(name) == ""]
    for name in [folder.path.name, *sorted(main), *sorted(names)]:
        try:
            code, start = parse_night_name(name)
        except InvalidDocumentError:
            continue
        if code == camera_id:
            return start
    return None


def _sort_in(night: _Night, name: str) -> None:
    variant = detections_variant(name)
    if variant is not None:
        if describe(name).code == night.camera_id:
            night.detections[variant].append(name)
    elif name.endswith(".ecsv"):
        night.measurements.append(name)
    elif name.startswith("FF") and describe(name).semantic_type.s.startswith("ff"):
        night.recordings[_recording(name)].append(name)


def _recording(name: str) -> str:
    """The name of an FF file without what may follow the frame counter."""
    return "_".join(name.partition(".")[0].split("_")[:6])


def _read_detections(folder: Folder, night: _Night) -> dict[str, Detections]:
    """The detections of the night and those measured again by hand, by file name.

    The events are those of the files that should be taken now; what was measured by hand adds to them.
    """
    main = [name for name in night.detections[""] if folder.is_wanted(name)]
    names = [*main, *(name for name in _variants(night) if _is_manual(name))]
    return {
        name: parse_detections((folder.path / name).read_text("utf-8", "replace"))
        for name in names
        if not find_damage(folder.path / name, "text/plain")
    }


def _variants(night: _Night) -> Iterator[str]:
    for variant, names in night.detections.items():
        if variant:
            yield from names


def _is_manual(name: str) -> bool:
    return _MANUAL in (detections_variant(name) or "")


def _read_file(folder: Folder, night: _Night, name: str, read: Detections | None) -> Item:
    path = folder.path / name
    described = describe(name)
    if name.endswith(CONFIG_NAME):
        return LeftOutItem(path=path, reason="settings, may hold passwords")
    if name.startswith("."):
        return LeftOutItem(path=path, reason="hidden file")
    if described.code is not None and described.code != night.camera_id and not described.code.isdigit():
        return LeftOutItem(path=path, reason=f"belongs to camera {described.code}, not {night.camera_id}")
    if read is not None and read.complaints:
        reason = f"{len(read.complaints)} faults, {len(read.detections)} meteors could be read"
        return DamageItem(path=path, reason=reason, details=tuple(str(each) for each in read.complaints))
    return _file_item(folder, night, name)


def _file_item(folder: Folder, night: _Night, name: str) -> FileItem:
    described = describe(name)
    path = folder.path / name
    meta = [Meta(NSString("timeSource"), "night" if described.time is None else "name")]
    if described.semantic_type == NSString("ff", NAMESPACE):
        meta.extend(_capture_metadata(path))
    return FileItem(
        source=path,
        name=name,
        camera_id=night.camera_id,
        mime_type=described.mime_type,
        semantic_type=described.semantic_type,
        file_time=truncate_to_milliseconds(described.time or night.start),
        meta=tuple(meta),
        is_mark=name == night.mark,
    )


def _capture_metadata(path: Path) -> Iterator[Meta]:
    """Frame counter of the night, and what the header of a sound FITS file says."""
    yield Meta(NSString("firstFrame", NAMESPACE), parse_ff_name(path.name).first_frame)
    try:
        with path.open("rb") as stream:
            header = read_fits_header(stream) or {}
        frames, fps = int(header["NFRAMES"]), float(header["FPS"])
        size = int(header["NCOLS"]), int(header["NROWS"])
    except (OSError, InvalidDocumentError, KeyError, ValueError):
        return  # whoever takes the file says what is wrong with it
    if fps > 0:
        yield Meta(NSString("duration"), round(frames / fps, 4))
        yield Meta(NSString("framesPerSecond"), fps)
    yield Meta(NSString("frames", NAMESPACE), frames)
    yield Meta(NSString("width", NAMESPACE), size[0])
    yield Meta(NSString("height", NAMESPACE), size[1])


def _read_events(folder: Folder, night: _Night, read: Mapping[str, Detections]) -> Iterator[Item]:
    main = [each for name in sorted(night.detections[""]) if name in read for each in read[name].detections]
    others = _files_about(folder, night, read, main)
    seen: Counter[tuple[str, int]] = Counter()
    for detection in main:
        key = detection.ff_name, detection.number
        names = sorted(night.recordings.get(_recording(detection.ff_name), []), key=_captures_first)
        recordings = [_file_item(folder, night, name) for name in names]
        about = [_file_item(folder, night, name) for name in others.get(id(detection), [])]
        yield event_of(detection, night.camera_id, seen[key], recordings, about)
        seen[key] += 1


def _captures_first(name: str) -> tuple[bool, str]:
    return not name.endswith((".fits", ".bin")), name


def _files_about(
    folder: Folder, night: _Night, read: Mapping[str, Detections], main: list[Detection]
) -> dict[int, list[str]]:
    """Names of measurements made by hand, by the identity of the detection object they belong to."""
    found: dict[int, list[str]] = defaultdict(list)
    for name in sorted(read):
        if not _is_manual(name) or read[name].complaints:
            continue
        matches = [best_match(each, main) for each in read[name].detections]
        for match_id in {id(match) for match in matches if match is not None}:
            found[match_id].append(name)
    for name in sorted(night.measurements):
        time = describe(name).time
        if time is not None and (measured := match_at(time.replace(microsecond=0), main)):
            found[id(measured)].append(name)
    return found
