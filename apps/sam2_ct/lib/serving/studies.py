"""The folder of studies: MONAI Label's local datastore, made to last.

Upstream's writes files in place, so that a kill leaves empty ones (and an empty index keeps the
server from ever starting again) and a full disk destroys the label that was there; it changes its
memory before the disk, and takes its index at its word. Here everything is written beside and
renamed, the index after the file it tells of, memory last; an index that is damaged is put aside
and made anew from the folder; a folder that may only be read is served.

Files that somebody else puts into the folder are seen by its time of change, which is looked at
whenever the studies are asked for; upstream's watcher changes them under the hands of a request.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from filelock import FileLock
from monailabel.datastore.local import (
    DataModel,
    ImageLabelModel,
    LocalDatastore,
    LocalDatastoreModel,
)
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from lib.engine.bell import Bell
from lib.errors import BadInput
from lib.files import LABEL_MAPS, beside, discard, sweep, sync, temporary
from lib.serving import said
from lib.serving.names import tag_text
from lib.serving.next_volume import INFO_KEY
from lib.serving.scratch import as_usual, make_usual

logger = logging.getLogger(__name__)

#: What the server notes about an image itself; nobody else may write it, and it may be lost.
NOTES = frozenset({INFO_KEY, "strategy"})
_SETTLED = 2_000_000_000  # nanoseconds: a folder changed more recently may change unseen
_LOOK_AGAIN = 0.25  # seconds, at such a folder
#: A disk that may only be read, or is full: what the server notes itself stays in memory.
_NO_ROOM = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
_LONGEST_INFO = 64 << 10


class Studies(LocalDatastore):
    """Images and their labels in a folder.

    Args:
        datastore_path: the folder.
        images_dir: of images, in it.
        labels_dir: of labels, in it, with a folder for each tag.
        datastore_config: name of the index.
        extensions: not used: `LABEL_MAPS` it is.
        auto_reload: not used: see above.
        read_only: not used: it is found out.

    Attributes:
        changed: rings when images, labels or what is known of them have changed.
    """

    def __init__(
        self,
        datastore_path: str,
        images_dir: str = ".",
        labels_dir: str = "labels",
        datastore_config: str = "datastore_v2.json",
        extensions: Iterable[str] = (),
        auto_reload: bool = True,
        read_only: bool = False,
    ) -> None:
        # not upstream's, which begins by writing
        self._datastore_path = datastore_path
        self._datastore_config_path = os.path.join(datastore_path, datastore_config)
        self._extensions = [f"*{ending}" for ending in LABEL_MAPS]
        self._auto_reload = True
        self.changed: Bell[None] = Bell()
        self._turn = threading.RLock()  # of threads; of other servers on the same folder:
        self._lock = FileLock(os.path.join(datastore_path, ".lock"))
        self._index = Path(self._datastore_config_path)
        self._index_changed = 0
        self._stamp: tuple[int, ...] = ()
        self._looked = 0.0
        self._is_listed = False  # the folder was read after the stamp was taken
        self._bare = LocalDatastoreModel(
            name="new-dataset",
            description="New Dataset",
            images_dir=images_dir,
            labels_dir=labels_dir,
            base_path=datastore_path,
        )
        self._model = self._bare
        os.makedirs(datastore_path, exist_ok=True)
        with self._changing():
            labels = Path(self._model.label_path(None))
            sweep({self._index.parent, Path(self._model.image_path()), *_folders(labels)})
        self.refresh()

    @property
    def _datastore(self) -> LocalDatastoreModel:
        """What everything inherited reads: as the folder is now."""
        stamp = self._stamp_now()
        unsure = not (self._is_listed and _is_settled(stamp))
        unsure = unsure and time.monotonic() - self._looked > _LOOK_AGAIN
        # whoever has the turn is bringing the model up to date: nobody waits for the disk
        if (stamp != self._stamp or unsure) and self._turn.acquire(blocking=False):
            try:
                self.refresh()
            finally:
                self._turn.release()
        return self._model

    def notice(self) -> None:
        """Take the folder as it is, if that looks changed."""
        _ = self._datastore

    def refresh(self) -> None:
        """Take the folder as it is."""
        with self._changing():
            self._seen(is_listed=True)
            found = self._with_files(self._model)
            if found.objects != self._model.objects or not self._index_changed:
                self._commit(found, keep_anyhow=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One at a time, after what another server on the folder wrote."""
        with self._turn, contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._lock)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
            if _changed(self._index) != self._index_changed:
                self._model = self._from_index()
                self._index_changed = _changed(self._index)  # 0 where it was put aside
                self.changed.ring(None)
            yield

    def _seen(self, is_listed: bool) -> None:
        """Remember how the folder looks now.

        After a change of ours somebody else's file may hide behind it: unless `is_listed`, the
        folder is read again at the next look.
        """
        self._stamp, self._looked = self._stamp_now(), time.monotonic()
        self._is_listed = is_listed
        self._index_changed = _changed(self._index)

    # -- changes -----------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict | None) -> str:
        """Add an image, or put another in its place; its labels stay.

        Raises:
            OSError: it cannot be written; what was there is still there.
        """
        own, ending = self._to_id(os.path.basename(image_filename))
        image_id = image_id or own
        place = Path(self._model.image_path(), image_id + ending)
        staged = self._stage(Path(image_filename), place)
        with self._changing():
            entry = self._entry(image_id)
            before = None if entry is None else Path(place.parent, image_id + entry.image.ext)
            image = DataModel(ext=ending, info=_dated(image_info, place.name))
            entry = ImageLabelModel(image=image, labels=entry.labels if entry else {})
            self._commit(self._model_with(image_id, entry), staged=(staged, place))
            if before is not None and before != place:
                discard(before)
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict | None
    ) -> str:
        """Add a label, or put another in its place.

        Raises:
            ImageNotFoundException: no such image.
            OSError: it cannot be written; what was there is still there.
        """
        tag = tag_text(label_tag)
        if self._entry(image_id) is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        _, ending = self._to_id(os.path.basename(label_filename))
        place = Path(self._model.label_path(tag), image_id + ending)
        make_usual(place.parent)
        staged = self._stage(Path(label_filename), place)
        with self._changing():
            entry = self._entry(image_id)
            if entry is None:
                discard(staged)
                raise ImageNotFoundException(f"Image {image_id} not found")
            entry = entry.model_copy(deep=True)
            before = entry.labels.get(tag)
            entry.labels[tag] = DataModel(ext=ending, info=_dated(label_info, place.name))
            self._commit(self._model_with(image_id, entry), staged=(staged, place))
            if before is not None and before.ext != ending:
                discard(place.with_name(image_id + before.ext))
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels.

        Raises:
            ImageNotFoundException: no such image.
        """
        with self._changing():
            entry = self._entry(image_id)
            if entry is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            for tag in entry.labels:
                self.remove_label(image_id, tag)
            Path(self._model.image_path(), image_id + entry.image.ext).unlink(missing_ok=True)
            self._commit(self._model_with(image_id, None))

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label.

        Raises:
            LabelNotFoundException: no such label.
        """
        tag = tag_text(label_tag)
        with self._changing():
            entry = self._entry(label_id)
            if entry is None or tag not in entry.labels:
                raise LabelNotFoundException(f"Label: {label_id} Tag: {tag} not found")
            entry = entry.model_copy(deep=True)
            gone = entry.labels.pop(tag)
            Path(self._model.label_path(tag), label_id + gone.ext).unlink(missing_ok=True)
            self._commit(self._model_with(label_id, entry))

    def update_image_info(self, image_id: str, info: Mapping[str, object]) -> None:
        """Add to what is known of an image.

        Raises:
            ImageNotFoundException: no such image.
            BadInput: what cannot be stored, or too much of it.
        """
        with self._changing():
            entry = self._entry(image_id)
            if entry is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            entry = entry.model_copy(deep=True)
            entry.image.info.update(_storable(info))
            _check_size(entry.image.info)
            self._commit(self._model_with(image_id, entry), keep_anyhow=info.keys() <= NOTES)

    def update_label_info(self, label_id: str, label_tag: str, info: Mapping[str, object]) -> None:
        """Add to what is known of a label.

        Raises:
            LabelNotFoundException: no such label.
            BadInput: what cannot be stored, or too much of it.
        """
        tag = tag_text(label_tag)
        with self._changing():
            entry = self._entry(label_id)
            if entry is None or tag not in entry.labels:
                raise LabelNotFoundException(f"Label: {label_id} Tag: {tag} not found")
            entry = entry.model_copy(deep=True)
            entry.labels[tag].info.update(_storable(info))
            _check_size(entry.labels[tag].info)
            self._commit(self._model_with(label_id, entry))

    def set_name(self, name: str) -> None:
        """Name the studies."""
        with self._changing():
            self._commit(self._model.model_copy(update={"name": name}))

    def set_description(self, description: str) -> None:
        """Describe the studies."""
        with self._changing():
            self._commit(self._model.model_copy(update={"description": description}))

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A ZIP archive of images with final labels; whoever sends it removes it.

        Files have the names of their images here. Upstream's have those that links lead to, of
        which several may be the same.

        Raises:
            OSError: it cannot be written, or a file has gone; nothing is left.
        """
        self.datalist()  # of an image store it fetches what is needed
        final = DefaultLabelTag.FINAL
        cases = sorted(self._datastore.filter_by_tag(final).items())
        limit = limit_cases if limit_cases and limit_cases > 0 else None

        def write(path: Path) -> None:
            with zipfile.ZipFile(path, "w", strict_timestamps=False) as archive:
                for image_id, entry in cases[:limit]:
                    image, label = image_id + entry.image.ext, image_id + entry.labels[final].ext
                    archive.write(Path(self._model.image_path(), image), f"image/{image}")
                    archive.write(Path(self._model.label_path(final), label), f"label/{label}")
                archive.writestr(
                    "metadata.json", self._model.model_dump_json(exclude={"base_path"})
                )

        return str(temporary(".zip", write))

    # -- the folder --------------------------------------------------------------------------

    def is_there(self, image_id: str, entry: ImageLabelModel) -> bool:
        """Whether an image of the index still counts."""
        return Path(self._model.image_path(), image_id + entry.image.ext).is_file()

    def _to_id(self, file: str) -> tuple[str, str]:
        for ending in LABEL_MAPS:
            if file.endswith(ending):
                return file.removesuffix(ending), ending
        raise BadInput(f"{file!r} is neither NIfTI nor NRRD by its ending")

    def _entry(self, image_id: str) -> ImageLabelModel | None:
        return self._model.objects.get(image_id)

    def _model_with(self, image_id: str, entry: ImageLabelModel | None) -> LocalDatastoreModel:
        objects = dict(self._model.objects)
        if entry is None:
            del objects[image_id]
        else:
            objects[image_id] = entry
        return self._model.model_copy(update={"objects": objects})

    def _stage(self, source: Path, place: Path) -> Path:
        """A copy of `source` beside `place`, on the disk; it takes time, and no turn."""
        staged = beside(place)
        try:
            shutil.copyfile(source, staged)
            as_usual(staged)
            sync(staged)
        except OSError:
            discard(staged)
            raise
        return staged

    def _commit(
        self,
        model: LocalDatastoreModel,
        *,
        staged: tuple[Path, Path] | None = None,
        keep_anyhow: bool = False,
    ) -> None:
        """Put a staged file and the index in place, then take `model`.

        Both are on the disk in full before either is renamed, so that a full disk changes nothing.
        With `keep_anyhow` a disk that may only be read, or is full, does not keep `model` from
        memory.
        """
        index = beside(self._index)
        is_written = False
        try:
            content = model.model_dump(exclude={"base_path"})
            index.write_text(
                json.dumps(content, indent=2, default=str, allow_nan=False), encoding="utf-8"
            )
            as_usual(index)
            sync(index)
            if staged is not None:
                os.replace(*staged)
                sync(staged[1].parent)
            os.replace(index, self._index)
            sync(self._index.parent)
            is_written = True
        except OSError as error:
            if not (keep_anyhow and error.errno in _NO_ROOM):
                raise
        except ValueError as error:
            raise BadInput(f"the info of the image cannot be stored: {error}") from error
        finally:
            discard(index)
            if staged is not None:
                discard(staged[0])
        self._model = model
        self._seen(is_listed=self._is_listed and not is_written)
        self.changed.ring(None)

    def _stamp_now(self) -> tuple[int, ...]:
        """Times at which the folders and the index changed."""
        labels = Path(self._model.label_path(None))
        return tuple(
            _changed(path)
            for path in (self._index, Path(self._model.image_path()), labels, *_folders(labels))
        )

    def _with_files(self, model: LocalDatastoreModel) -> LocalDatastoreModel:
        """`model` with what lies in the folder, and without what does not."""
        objects = {}
        for image_id, entry in model.objects.items():
            if self.is_there(image_id, entry):
                kept = {
                    tag: label
                    for tag, label in entry.labels.items()
                    if Path(model.label_path(tag), image_id + label.ext).is_file()
                }
                objects[image_id] = entry.model_copy(update={"labels": kept})
        for name in _names(Path(model.image_path())):
            image_id, ending = self._to_id(name)
            if image_id not in objects:
                image = DataModel(ext=ending, info=_dated(None, name))
                objects[image_id] = ImageLabelModel(image=image)
        for folder in _folders(Path(model.label_path(None))):
            for name in _names(folder):
                image_id, ending = self._to_id(name)
                if image_id in objects and folder.name not in objects[image_id].labels:
                    label = DataModel(ext=ending, info=_dated(None, name))
                    objects[image_id].labels[folder.name] = label
        return model.model_copy(update={"objects": objects})

    def _from_index(self) -> LocalDatastoreModel:
        """The index, or as much of it as makes sense; the rest is put aside and told."""
        try:
            text = self._index.read_text(encoding="utf-8")
        except FileNotFoundError:
            return self._bare
        except ValueError:
            text = ""
        try:
            content = json.loads(text)
            entries = dict(content["objects"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return self._anew(self._bare, "it is not what we wrote")
        objects, lost = {}, []
        for image_id, entry in entries.items():
            try:
                said.check([image_id, entry], "the entry")
                objects[image_id] = _sensible(image_id, ImageLabelModel.model_validate(entry))
            except ValueError:  # BadInput and pydantic's are such
                lost.append(image_id)
        update = {"objects": objects}
        for field in ("name", "description", "images_dir", "labels_dir"):
            if isinstance(content.get(field), str) and ".." not in content[field]:
                update[field] = content[field]
        model = self._bare.model_copy(update=update)
        if lost:
            return self._anew(model, f"the entries of {ascii(lost)[:200]} make no sense")
        return model

    def _anew(self, model: LocalDatastoreModel, reason: str) -> LocalDatastoreModel:
        aside = self._index.with_name(f"{self._index.stem}.damaged-{time.time_ns()}.json")
        try:
            os.replace(self._index, aside)
        except OSError as error:
            logger.warning("%s cannot be put aside: %s", self._index, error.strerror)
        logger.warning(
            "%s was damaged (%s): it is kept as %s and made anew from the folder",
            *(self._index, reason, aside.name),
        )
        return model


def _names(folder: Path) -> list[str]:
    """Files of a folder that are volumes by their ending, of one id the first ending first."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    fit = [
        name
        for name in names
        if name.endswith(LABEL_MAPS)
        and name[0] != "."
        and name not in LABEL_MAPS
        and _is_unicode(name)
        and (folder / name).is_file()  # neither a folder, a pipe, nor a link that leads nowhere
    ]
    return sorted(fit, key=lambda n: next(map(n.endswith, LABEL_MAPS)))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        logger.warning("%s is left out: its name is not Unicode, rename it", ascii(name))
        return False
    return True


def _folders(labels: Path) -> list[Path]:
    """The folders of tags."""
    try:
        return sorted(p for p in labels.iterdir() if p.is_dir() and _is_unicode(p.name))
    except OSError:
        return []


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _is_settled(stamp: tuple[int, ...]) -> bool:
    return time.time_ns() - max(stamp) > _SETTLED


def _sensible(image_id: str, entry: ImageLabelModel) -> ImageLabelModel:
    """An entry of the index whose names lead to no other folder."""
    parts = (image_id, entry.image.ext, *entry.labels, *(x.ext for x in entry.labels.values()))
    if any("/" in part or "\0" in part for part in parts) or image_id in ("", ".", ".."):
        raise BadInput("a name that leads elsewhere")
    note = entry.image.info.get(INFO_KEY, {})
    if not isinstance(note, dict) or not isinstance(note.get("confidence", 0), int | float):
        del entry.image.info[INFO_KEY]
    return entry


def _storable(info: Mapping[str, object]) -> dict[str, object]:
    said.check(dict(info), "the info")
    return dict(info)


def _check_size(info: Mapping[str, object]) -> None:
    if len(json.dumps(info, default=str)) > _LONGEST_INFO:
        raise BadInput(f"there is more than {_LONGEST_INFO >> 10} KB of info: keep it elsewhere")


def _dated(info: Mapping[str, object] | None, name: str) -> dict[str, object]:
    return {**(info or {}), "ts": int(time.time()), "name": name}
