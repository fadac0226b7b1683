"""Nothing that is sent reads another file, writes outside the studies, or blows up."""

import gzip
import io
import json
import tarfile
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.security.conftest import SHAPE, image_file, label_file

DETACHED = (
    "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 16 12\n"
    "space directions: (-2,0,0) (0,-2,0) (0,0,3)\nkinds: domain domain domain\nencoding: raw\n"
    "space origin: (0,0,0)\ndata file: {}\n\n"
)
META = "ObjectType = Image\nNDims = 3\nDimSize = 20 16 12\nElementType = MET_UCHAR\n"


def as_session(victim, name: str, content: bytes):
    return victim.ask("PUT", "/session/", files={"files": (name, content)})


def as_image(victim, name: str, content: bytes):
    return victim.ask("PUT", "/datastore/image?image=sent", files={"file": (name, content)})


def as_label(victim, name: str, content: bytes):
    return victim.ask("PUT", "/datastore/label?image=a", files={"label": (name, content)})


def as_infer_file(victim, name: str, content: bytes):
    return victim.ask(
        "POST",
        "/infer/sam2_ct_points",
        files={"file": (name, content), "params": (None, '{"foreground":[[9,8,5]]}')},
    )


def as_infer_label(victim, name: str, content: bytes):
    params = {"label_info": [{"name": "x", "id": 1}], "selected_label_name": "x"}
    return victim.ask(
        "POST",
        "/infer/sam2_ct_masks?image=a",
        files={"label": (name, content), "params": (None, json.dumps(params))},
    )


DOORS = [as_session, as_image, as_label, as_infer_file, as_infer_label]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["x.nrrd", "x.seg.nrrd", "x.nhdr", "x.nii.gz", "x"])
def test_a_detached_header_reads_nothing_and_tells_nothing(unharmed, door, name):
    told = set()
    for target in (unharmed.secret, unharmed.folder / "not there", "/etc/passwd", "../secret.bin"):
        answer = door(unharmed, name, DETACHED.format(target).encode())
        assert answer.status_code == 422, answer.text
        told.add(answer.json()["detail"])
    assert len(told) == 1  # nobody learns which paths there are
    assert str(unharmed.folder) not in told.pop()


@pytest.mark.parametrize("door", DOORS)
def test_other_formats_that_name_files_are_refused(unharmed, door, tmp_path):
    pair = nib.Nifti1Pair(np.zeros(SHAPE, np.int16), np.eye(4))
    nib.save(pair, tmp_path / "x.hdr")
    for name, content in {
        "x.mha": (META + f"ElementDataFile = {unharmed.secret}\n").encode(),
        "x.nrrd": (META + "ElementDataFile = LOCAL\n").encode() + bytes(3840),
        "x.nii.gz": gzip.compress((tmp_path / "x.hdr").read_bytes()),
        "DICOMDIR": bytes(128) + b"DICM" + bytes(200),
        "x.svs": b"II*\0" + bytes(100),
        "x.nii": (tmp_path / "x.hdr").read_bytes(),
        "empty.nii": b"",
    }.items():
        answer = door(unharmed, name, content)
        assert answer.status_code == 422, (name, answer.text)


def archives(folder: Path, secret: Path) -> dict[str, bytes]:
    volume = image_file(folder / "v.nii.gz").read_bytes()
    made = {}
    for name in ("../../out.nii.gz", "/tmp/out.nii.gz", "v.nii.gz"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, volume)
        made[f"zip {name}"] = packed.getvalue()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("link.nii.gz")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    made["link"] = packed.getvalue()
    return made


@pytest.mark.parametrize("uncompress", ["true", "false"])
def test_archives_are_not_unpacked(unharmed, tmp_path, uncompress):
    for name, content in archives(tmp_path, unharmed.secret).items():
        ending = "tar.gz" if name == "link" else "zip"
        answer = unharmed.ask(
            "PUT",
            f"/session/?uncompress={uncompress}",
            files={"files": (f"x.{ending}", content)},
        )
        assert answer.status_code == 422, (name, answer.text)


def test_several_files_are_no_session(unharmed, tmp_path):
    volume = image_file(tmp_path / "v.nii.gz").read_bytes()
    files = [("files", ("../../x.nii.gz", volume)), ("files", ("y.nii.gz", volume))]
    assert unharmed.ask("PUT", "/session/", files=files).status_code == 422


IMAGES = [
    "../x",
    "../../x",
    "/tmp/x",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "x\0y",
    "x\ny",
    "x" * 200,
]


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".sh", ""])
def test_names_of_images_stay_in_the_studies(unharmed, tmp_path, image, ending):
    content = image_file(tmp_path / "v.nii.gz").read_bytes()
    for path in ("/datastore/", "/datastore/image"):
        answer = unharmed.ask(
            "PUT", path, params={"image": image}, files={"file": (f"x{ending}", content)}
        )
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("filename", ["../../x.nii.gz", "/tmp/x.nii.gz", "..\\x.nii.gz"])
def test_names_of_uploads_count_for_nothing(victim, tmp_path, filename):
    content = image_file(tmp_path / "v.nii.gz").read_bytes()
    answer = victim.ask("PUT", "/datastore/image", files={"file": (filename, content)})
    assert answer.ok, answer.text
    assert answer.json() == {"image": "x"}
    assert (victim.studies / "x.nii.gz").read_bytes() == content
    assert victim.ask("DELETE", "/datastore/image?id=x").ok


@pytest.mark.parametrize("tag", ["../../x", "..", "/tmp/x", "a/b", ".x", "x\0", "é", "x" * 99])
def test_tags_stay_in_the_folder_of_labels(unharmed, label, tag):
    answer = unharmed.ask(
        "PUT",
        "/datastore/label",
        params={"image": "a", "tag": tag},
        files={"label": ("x.nii.gz", label.read_bytes())},
    )
    assert answer.status_code == 422, answer.text
    for method in ("GET", "HEAD", "DELETE"):
        params = {"label": "a", "id": "a", "image": "a", "tag": tag}
        assert unharmed.ask(method, "/datastore/label", params=params).status_code == 422


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "nobody", "a.nii.gz", "x\0"])
def test_only_images_of_the_datastore_are_handed_out(unharmed, name):
    for path in ("image", "image/info"):
        answer = unharmed.ask("GET", f"/datastore/{path}", params={"image": name})
        assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("name", ["../studies", "..", "%2e%2e", "x", "0" * 36, "meta.info"])
def test_sessions_stay_in_their_folder(unharmed, name):
    for method in ("GET", "DELETE"):
        assert unharmed.ask(method, f"/session/{name}?image=true").status_code in (404, 405)
    answer = unharmed.ask("POST", "/infer/sam2_ct_points", params={"session_id": name})
    assert answer.status_code == 404


def test_an_image_is_never_taken_for_a_file_of_that_name(victim, tmp_path):
    """The server's own folder has a file called like an image."""
    lure = victim.folder / "lure.nii.gz"
    image_file(lure, seed=5)
    content = image_file(tmp_path / "v.nii.gz", seed=6).read_bytes()
    sent = victim.ask(
        "PUT", "/datastore/image?image=lure.nii.gz", files={"file": ("v.nii.gz", content)}
    )
    assert sent.ok, sent.text
    answer = victim.ask(
        "POST",
        "/infer/sam2_ct_points?image=lure.nii.gz&output=json",
        files={"params": (None, '{"foreground":[[9,8,5]]}')},
    )
    assert answer.ok, answer.text
    assert Path(answer.json()["volume"]["path"]).parent == victim.studies
    lure.unlink()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_bomb_is_refused_by_its_header(unharmed, door, ending):
    shape, zeros = (1000, 1000, 1500), gzip.compress(bytes(1 << 20)) * 1450  # 1.5 MB
    if ending == ".nrrd":
        text = DETACHED.replace("20 16 12", "1000 1000 1500").replace("raw", "gzip")
        content = text.partition("data file")[0].encode() + b"\n" + zeros
    else:
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(np.uint8)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        content = gzip.compress(header.binaryblock + bytes(4)) + zeros
    start = time.perf_counter()
    answer = door(unharmed, f"x{ending}", content)
    assert answer.status_code == 422, answer.text
    assert any(words in answer.json()["detail"] for words in ("compresses", "another grid"))
    assert time.perf_counter() - start < 2


def test_a_label_on_another_grid_is_not_kept(unharmed, tmp_path):
    other = label_file(tmp_path / "other.nii.gz", (20, 16, 13))
    answer = as_label(unharmed, "x.nii.gz", other.read_bytes())
    assert answer.status_code == 422
    assert "another grid" in answer.json()["detail"]


def test_half_a_label_map_is_not_kept(unharmed, label):
    """Whoever sent it would take it for kept."""
    whole = gzip.decompress(label.read_bytes())
    for content in (label.read_bytes()[:-20], gzip.compress(whole[:-2000])):
        answer = as_label(unharmed, "x.nii.gz", content)
        assert answer.status_code == 422
        assert "the upload is damaged" in answer.json()["detail"]


def test_what_ohif_submits_is_one_byte_a_voxel(victim):
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 4, 5] = 2
    for content, status in ((labels.tobytes("F"), 200), (bytes(10), 422), (bytes(99999), 422)):
        assert as_label(victim, "label.bin", content).status_code == status
    saved = victim.ask("GET", "/datastore/label?label=a&tag=final").content
    array = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(saved)).dataobj)
    np.testing.assert_array_equal(array, labels)
    assert victim.ask("DELETE", "/datastore/label?id=a&tag=final").ok


def test_refused_uploads_leave_nothing(victim):
    scratch = victim.folder / "home" / "scratch"
    for door in DOORS:
        door(victim, "x.nrrd", DETACHED.format("/etc/passwd").encode())
    left = [p for p in scratch.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert left == []


@pytest.mark.parametrize("text", ["nan", "0,0,0", "1e400,0,0"])
def test_affines_that_make_no_sense(unharmed, text):
    bad = DETACHED.partition("data file")[0].replace("(-2,0,0)", f"({text},0,0)"[: len(text) + 6])
    content = bad.encode() + b"\n" + bytes(3840)
    for door in DOORS:
        assert door(unharmed, "x.nrrd", content).status_code == 422


def test_sentences_name_no_path_of_the_server(victim, tmp_path):
    array = np.full(SHAPE, 0.5, np.float32)
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 3, 1])), tmp_path / "x.nii.gz")
    halves = (tmp_path / "x.nii.gz").read_bytes()
    answer = as_infer_label(victim, "x.nii.gz", halves)
    assert "the upload is not a label map: it has fractional values" in answer.json()["detail"]
    (victim.studies / "broken.nii.gz").write_bytes(b"no volume")
    answer = victim.ask(
        "POST",
        "/infer/sam2_ct_points?image=broken",
        files={"params": (None, '{"foreground":[[9,8,5]]}')},
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the studies folder/broken.nii.gz is damaged")
    (victim.studies / "broken.nii.gz").unlink()
    session = as_session(victim, "x.nii.gz", halves).json()["session_id"]
    answer = victim.ask(
        "POST",
        f"/infer/sam2_ct_points?session_id={session}",
        files={"params": (None, '{"foreground":[[9,8,5]]}')},
    )
    assert answer.json()["detail"].startswith("the volume has the value 0.5 in every voxel")
