"""The set-up of an RMS camera: where it stands and points, from ``.config``, platepar and mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from meteorpi_db.ingest.base import DamageItem, Folder, StatusFacts
from meteorpi_db.ingest.rms_formats import Platepar, StationConfig, parse_config, parse_platepar
from meteorpi_db.ingest.rms_names import CONFIG_NAME, DEFAULT_MASK_NAME, DEFAULT_PLATEPAR_NAME
from meteorpi_db.ingest.sky_mask import read_sky_regions
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.status import Location, Orientation

_MOST_BYTES = 64 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """The set-up of the night, and the files that could not be read for it.

    Attributes:
        facts: what is known.
        damaged: the configuration or platepar, when unreadable.
    """

    facts: StatusFacts
    damaged: tuple[DamageItem, ...]


def is_setup_file(name: str) -> bool:
    """Whether the set-up is read from a file of this name."""
    return name in (CONFIG_NAME, DEFAULT_MASK_NAME) or _is_platepar(name)


def read_setup(folder: Folder, camera_id: str, stated: StatusFacts) -> Setup:
    """What the folder says of the camera; a text that the caller states goes before it.

    The calibration was made for this camera and travels with the night, so where the configuration names
    another station the platepar's position counts.
    """
    damaged: list[DamageItem] = []
    config = _read(folder.find(CONFIG_NAME), parse_config, damaged, is_secret=True) or StationConfig()
    platepar = _read(_find_platepar(folder, config), parse_platepar, damaged)
    mask = folder.find(Path(config.mask_name or DEFAULT_MASK_NAME).name)
    facts = replace(
        stated,
        location=_location(config, platepar, camera_id) or stated.location,
        orientation=_orientation(platepar) or stated.orientation,
        regions=(read_sky_regions(mask) if mask else None) or stated.regions,
        defaults=_default_texts(config, camera_id),
    )
    return Setup(facts, tuple(damaged))


def _read(
    path: Path | None, parse: Callable[[str], T], damaged: list[DamageItem], *, is_secret: bool = False
) -> T | None:
    if path is None:
        return None
    if path.stat().st_size > _MOST_BYTES:
        damaged.append(DamageItem(path=path, reason="far too large for what it is", is_secret=is_secret))
        return None
    try:
        return parse(path.read_text("utf-8", "replace"))
    except InvalidDocumentError as error:
        damaged.append(DamageItem(path=path, reason=error.detail, is_secret=is_secret))
        return None


def _find_platepar(folder: Folder, config: StationConfig) -> Path | None:
    named = folder.find(Path(config.platepar_name or DEFAULT_PLATEPAR_NAME).name)
    return named or next((folder.path / name for name in sorted(filter(_is_platepar, folder.names()))), None)


def _is_platepar(name: str) -> bool:
    return name.startswith("platepar") and name.endswith(".cal")


def _location(config: StationConfig, platepar: Platepar | None, camera_id: str) -> Location | None:
    is_own = config.station_id in (None, camera_id)
    if platepar is not None and not is_own:
        return Location(platepar.latitude, platepar.longitude)
    if config.latitude is not None and config.longitude is not None:
        return Location(config.latitude, config.longitude)
    return None if platepar is None else Location(platepar.latitude, platepar.longitude)


def _orientation(platepar: Platepar | None) -> Orientation | None:
    if platepar is None:
        return None
    return Orientation(
        altitude=platepar.altitude,
        azimuth=platepar.azimuth,
        rotation=platepar.position_angle,
        width_of_field=platepar.fov_width / 2,
    )


def _default_texts(config: StationConfig, camera_id: str) -> dict[str, str]:
    """RMS names neither lens nor sensor, so they are described by what it says of them."""
    texts = {"inst_name": camera_id}
    if config.fov_width and config.fov_height:
        texts["lens"] = f"{config.fov_width:g} x {config.fov_height:g} degrees"
    if config.width and config.height and config.fps:
        texts["sensor"] = f"{config.width} x {config.height} at {config.fps:g} frames/s"
    return texts
