"""Parts of an audit that share nothing but a store."""

import pytest

import gradsift
from gradsift.audit import audit_part, merge
from gradsift.errors import RunDirectoryError
from gradsift.locations import RemotePath
from tests.support.object_store import keys, object_store


def test_parts_in_a_store_merged_are_the_run_of_one_process(monkeypatch, tmp_path, blobs, trained):
    inputs, given, _ = blobs
    options = {"shard_size": 50, "show_progress": False}
    on_disk = gradsift.audit(trained, (inputs, given), output=tmp_path / "x", **options)
    with object_store(monkeypatch):
        place = "s3://bucket/x"
        audit_part(trained, (inputs, given), (1, 2), output=place, **options)
        with pytest.raises(RunDirectoryError, match="are missing, of the parts 2/2"):
            merge(place, (inputs, given), trained, show_progress=False)
        upload = RemotePath.upload

        def twice(self, file, **more):
            monkeypatch.setattr(RemotePath, "upload", upload)
            with pytest.raises(RunDirectoryError, match="is being computed by another process"):
                audit_part(trained, (inputs, given), (2, 2), output=place, **options)
            with pytest.raises(RunDirectoryError, match=r"parts 2/2 of .* are being computed"):
                merge(place, (inputs, given), trained, show_progress=False)
            upload(self, file, **more)

        monkeypatch.setattr(RemotePath, "upload", twice)
        audit_part(trained, (inputs, given), (2, 2), output=place, **options)
        merged = merge(place, (inputs, given), trained, show_progress=False)
        assert merged.table.equals(on_disk.table)
        assert not [key for key in keys("bucket") if ".part" in key or ".lock" in key]
