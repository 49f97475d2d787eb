"""Read a config file into a frozen Config. Every mistake is reported at once, at its line and column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from gradcheck.config.checks.across_sections import contradictions
from gradcheck.config.checks.files import leads_outside
from gradcheck.config.checks.keras_names import unknown_to_keras
from gradcheck.config.checks.layer_names import undefined_names, unknown_cuts
from gradcheck.config.checks.safety import unsafe
from gradcheck.config.checks.user_files import missing_files
from gradcheck.config.schema import Config
from gradcheck.config.sections.base import findings_of
from gradcheck.config.yaml.document import Document, read_document
from gradcheck.config.yaml.overrides import GivenValue, overridden
from gradcheck.config.yaml.texts import SourceText
from gradcheck.errors import ConfigErrors, Location, Mistake
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.config.findings import Finding

#: The largest size of a config file, in bytes.
MAX_SIZE = 2**20


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A config, its file, and the positions of its keys. `document` is None for a config that was given from Python.

    `warnings` are what may be mistakes, and is only known once the config is run.
    """

    config: Config
    path: Path
    document: Document | None = None
    warnings: tuple[Mistake, ...] = ()

    @property
    def base(self) -> Path:
        """The folder to which paths in the config are relative."""
        return self.path.parent

    @property
    def name(self) -> str:
        """The `name` of the config, by default the file's stem."""
        return self.config.name or self.path.stem

    @property
    def text(self) -> str:
        """The text of the file; empty if there is none."""
        return "" if self.document is None else self.document.sources[str(self.path)].text

    def locate(self, *keys: str | int, at: Literal["key", "value"] = "value") -> Location | None:
        """Return the location of the value or key at `keys`, or of its nearest parent; None without the first."""
        return None if self.document is None else self.document.locate(keys, at)

    def mistake(self, finding: Finding) -> Mistake:
        """Return `finding` as a mistake, at its location if there is a file."""
        return _without_text(finding) if self.document is None else self.document.mistake(finding)


def load_config(
    path: str | Path,
    *,
    overrides: Sequence[str | GivenValue] = (),
    methods: Sequence[str] = (),
    against: Sequence[str] = (),
    require_split: bool = False,
    safe: bool = False,
) -> LoadedConfig:
    """Read and validate one config file.

    Args:
        path: the YAML file.
        overrides: `KEY=VALUE` strings that replace values of the file, applied in order (see `GivenValue`).
        methods: names that replace the config's list of methods; a method that the file lists keeps its options.
        against: other engines, which are added to that list.
        require_split: whether a method that needs a split, in a config without one, is a mistake.
        safe: whether a value that may run code, or names a file outside of the config's folder, is a mistake. A file is
            then opened only after it is known to be in that folder.

    Raises:
        ConfigErrors: every mistake of the file and the overrides at once, in the order of their lines.
    """
    path = Path(path)
    if safe and leads_outside(path, path.parent):
        message = f"{path} is a link that leads outside of its folder, where --safe reads nothing"
        raise _refused("GC029", message, path)
    source = SourceText(path, read_text(path))
    document = overridden(read_document(source), overrides, methods, against)
    data = document.data()
    config, findings = _validated(data, path.parent, require_split=require_split, safe=safe, names=True)
    certain, doubts = ({document.mistake(f) for f in findings if f.certain is sure} for sure in (True, False))
    mistakes = {*document.mistakes, *certain}
    if mistakes or config is None:
        raise ConfigErrors(sorted(mistakes, key=lambda mistake: _order(mistake, path)))
    warnings = tuple(sorted(doubts, key=lambda mistake: _order(mistake, path)))
    return LoadedConfig(config=config, path=path, document=document, warnings=warnings)


def load_given(config: Config | Mapping[str, Any] | str | Path, overrides: Mapping[str, Any]) -> LoadedConfig:
    """Validate a config given from Python: a file, a mapping as YAML would give it, or a Config.

    Args:
        config: the path, mapping or Config; paths in the latter two are relative to the working directory.
        overrides: top-level keys with the values that replace those of the config.

    Raises:
        ConfigErrors: every mistake at once. Mistakes in a mapping name their keys: there is no text to point at.
    """
    document = None
    path = Path("config")
    if isinstance(config, Config):
        data: dict[Any, Any] = {key: getattr(config, key) for key in config.model_fields_set}
    elif isinstance(config, (str, Path)):
        path = Path(config)
        document = read_document(SourceText(path, read_text(path)))
        data = document.data()
    else:
        data = dict(config)
    data |= overrides
    validated, findings = _validated(data, path.parent, require_split=True)
    mistakes = [] if document is None else list(document.mistakes)
    for finding in findings:
        in_text = document is not None and finding.path[:1] and finding.path[0] not in overrides
        mistakes.append(document.mistake(finding) if document is not None and in_text else _without_text(finding))
    if mistakes or validated is None:
        raise ConfigErrors(mistakes)
    return LoadedConfig(config=validated, path=path, document=document)


def _validated(
    data: dict[Any, Any], base: Path, *, require_split: bool, safe: bool = False, names: bool = False
) -> tuple[Config | None, list[Finding]]:
    """Return the config (None if it is wrong) and every mistake that can be found without TensorFlow.

    Args:
        data: the config as plain types.
        base: the folder of the config.
        require_split: as of `load_config`.
        safe: as of `load_config`.
        names: whether names of Keras and of layers are looked up: otherwise a run finds them.
    """
    # These checks read the raw data, so that an invalid section does not hide the mistakes of the others.
    found = [*contradictions(data, require_split=require_split), *undefined_names(data)]
    unknown = [*unknown_cuts(data), *unknown_to_keras(data)] if names else []
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        # Which files may be looked at is only known of a valid config.
        missing = [] if safe else list(missing_files(data, base))
        return None, [*findings_of(error), *_beside(missing, found), *unknown]
    refused = list(unsafe(config, data, base)) if safe else []
    if refused:
        return config, [*found, *refused]
    return config, [*_beside(list(missing_files(data, base)), found), *unknown]


def _beside(missing: list[Finding], found: list[Finding]) -> list[Finding]:
    """Return both, without the advice to cut a model whose own file is missing: that is what has to be mended first."""
    without_model = any(finding.path[0] == "model" for finding in missing)
    return [*missing, *(finding for finding in found if not (without_model and finding.code == "GC026"))]


def _without_text(finding: Finding) -> Mistake:
    """Return `finding` as a mistake that names its key: there is no text to point at."""
    key = ".".join(map(str, finding.path))
    message = f"{key}: {finding.message}" if key else finding.message
    return Mistake(code=finding.code, message=message, help=finding.help)


def _order(mistake: Mistake, path: Path) -> tuple[bool, str, int, int]:
    """Return the sort key: mistakes of the file come first, by line, then those of command-line options."""
    place = mistake.location
    if place is None:
        return (False, "", 0, 0)
    return (place.path != path, str(place.excerpt) if place.path != path else "", place.line, place.column)


def read_text(path: Path) -> str:
    """Return the text of a config file.

    Raises:
        ConfigErrors: if it cannot be read or is no UTF-8 (GC001), or is too large (GC009).
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)  # one byte more, to see that a file is too large without reading it all
    except (OSError, ValueError) as error:
        raise _refused("GC001", f"{path} cannot be read: {_reason(error)}", path) from None
    if len(content) > MAX_SIZE:
        raise _refused("GC009", f"{path} is larger than {MAX_SIZE} bytes, more than a config needs", path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        place = SourceText(path, before).lines
        location = Location(path=path, line=len(place), column=len(place[-1]) + 1)
        raise _refused("GC001", "the file is not UTF-8 text", path, location, "save it as UTF-8") from None


def _reason(error: OSError | ValueError) -> str:
    return os_reason(error) if isinstance(error, OSError) else str(error)


def _refused(
    code: str, message: str, path: Path, location: Location | None = None, advice: str | None = None
) -> ConfigErrors:
    """Return the error for a file that is not read as YAML at all."""
    location = location or Location(path=path, line=1)
    return ConfigErrors([Mistake(code=code, message=message, help=advice).at(location)])
