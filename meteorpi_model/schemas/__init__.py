"""JSON Schemas (2020-12) of the wire documents, one file each, named ``urn:meteorpi:schema:<name>``."""

from meteorpi_model.schemas.reading import load, names

URN = "urn:meteorpi:schema:"

__all__ = ["URN", "load", "names"]
