"""A file is what its content says, and nothing that it promises is followed or decompressed."""

import gzip
import time
import tracemalloc

import nibabel as nib
import nrrd
import numpy as np
import pytest

from lib.errors import BadInput
from lib.transforms.header import Format, format_of, read_header
from lib.transforms.load import load_labelmap, load_volume, read_grid
from tests.transforms.conftest import hu

NRRD = (
    b"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\n"
    b"encoding: raw\nspace origin: (0,0,0)\n"
)


@pytest.fixture
def secret(tmp_path):
    """64 bytes that an uploader may not read."""
    path = tmp_path / "elsewhere" / "secret"
    path.parent.mkdir()
    path.write_bytes(bytes(range(64)))
    return path


@pytest.mark.parametrize("field", [b"data file", b"datafile", b"Data File"])
@pytest.mark.parametrize("name", ["ct.nrrd", "label.seg.nrrd"])
def test_detached_data_is_never_followed(tmp_path, secret, field, name):
    for target in (str(secret), "../elsewhere/secret", "elsewhere/secret", "LIST\n" + str(secret)):
        path = tmp_path / name
        path.write_bytes(NRRD + field + b": " + target.encode() + b"\n\n")
        for load in (load_volume, load_labelmap, read_grid):
            with pytest.raises(BadInput, match=r"in another file|damaged"):
                load(path)


@pytest.mark.parametrize("target", ["../elsewhere/secret", "{secret}", "LIST", "s%03d.raw 1 2 1"])
def test_a_header_on_ones_own_disk_names_a_file_beside_it_only(tmp_path, secret, target):
    path = tmp_path / "ct.nhdr"
    path.write_bytes(NRRD + b"data file: " + target.format(secret=secret).encode() + b"\n\n")
    with pytest.raises(BadInput, match="must lie beside it"):
        load_volume(path)
    (tmp_path / "beside.raw").write_bytes(bytes(range(64)))
    path.write_bytes(NRRD + b"data file: beside.raw\n\n")
    assert load_volume(path).extremes[1] == 63


@pytest.mark.parametrize("skip", ["line skip: 1", "byte skip: -1", "byteskip: 5"])
def test_skips_are_refused(tmp_path, skip):
    path = tmp_path / "ct.nrrd"
    path.write_bytes(NRRD + skip.encode() + b"\n\n" + bytes(64))
    with pytest.raises(BadInput, match="do not follow its header"):
        load_volume(path)


def test_pairs_and_other_formats_are_refused_by_content(tmp_path, secret):
    pair = nib.Nifti1Pair(hu(), np.eye(4))
    nib.save(pair, tmp_path / "ct.hdr")
    (tmp_path / "ct.nii").write_bytes((tmp_path / "ct.hdr").read_bytes())
    (tmp_path / "meta.nii").write_text(f"NDims = 3\nElementDataFile = {secret}\n")
    (tmp_path / "meta.nrrd").write_text(f"NDims = 3\nElementDataFile = {secret}\n")
    for name in ("ct.nii", "meta.nii", "meta.nrrd"):
        assert format_of(tmp_path / name) is None
        with pytest.raises(BadInput, match="neither a single-file NIfTI nor an NRRD"):
            load_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "order"), [(nib.Nifti1Image, "<"), (nib.Nifti1Image, ">"), (nib.Nifti2Image, "<")]
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_is_known_by_its_content(tmp_path, kind, order, ending):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(f"{order}i2")
    nib.save(kind(hu().astype(f"{order}i2"), np.eye(4), header), tmp_path / f"ct{ending}")
    found = read_header(tmp_path / f"ct{ending}")
    assert found.format is Format(ending)
    assert (found.shape, found.voxel_bytes) == (hu().shape, hu().size * 2)
    (tmp_path / "named wrongly").write_bytes((tmp_path / f"ct{ending}").read_bytes())
    assert format_of(tmp_path / "named wrongly") is Format(ending)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_nrrd_encodings(tmp_path, encoding):
    nrrd.write(str(tmp_path / "ct.nrrd"), hu(), {"encoding": encoding})
    np.testing.assert_array_equal(load_volume(tmp_path / "ct.nrrd").grey, hu())


def test_no_more_is_decompressed_than_the_header_promises(tmp_path):
    path = tmp_path / "ct.nrrd"
    bomb = gzip.compress(bytes(range(64)) + bytes(300 << 20))
    path.write_bytes(NRRD.replace(b"raw", b"gzip") + b"\n" + bomb)
    tracemalloc.start()
    try:
        assert load_volume(path).extremes[1] == 63
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_bomb_is_seen_by_its_header(tmp_path, ending):
    path, shape = tmp_path / f"ct{ending}", (1000, 1000, 1500)
    voxels = gzip.compress(bytes(1 << 20), 1) * 4
    if ending == ".nrrd":
        header = NRRD.replace(b"4 4 4", b"1000 1000 1500").replace(b"raw", b"gzip")
        path.write_bytes(header + b"\n" + voxels)
    else:
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(np.uint8)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        path.write_bytes(gzip.compress(header.binaryblock + bytes(4)) + voxels)
    start = time.perf_counter()
    assert read_grid(path).shape == shape
    with pytest.raises(BadInput, match="no image compresses that well"):
        read_header(path).check_ratio()
    assert time.perf_counter() - start < 1


def test_more_than_the_machine_holds_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "ct.nrrd"
    path.write_bytes(NRRD.replace(b"4 4 4", b"60000 60000 60000") + b"\n" + bytes(64))
    with pytest.raises(BadInput, match="MB of memory"):
        load_volume(path)


@pytest.mark.parametrize("offset", [-5.0, 1e9, float("nan")])
def test_extensions_without_end(tmp_path, offset):
    header = nib.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header["magic"] = b"n+1"
    header["vox_offset"] = offset
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(100)))
    with pytest.raises(BadInput, match="impossible place"):
        load_volume(tmp_path / "ct.nii.gz")


def test_a_header_without_end(tmp_path):
    (tmp_path / "ct.nrrd").write_bytes(NRRD + b"#" * (8 << 20))
    with pytest.raises(BadInput, match="does not end"):
        load_volume(tmp_path / "ct.nrrd")
