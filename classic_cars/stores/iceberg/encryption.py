"""Server-side encryption with a key of one's own, for the metadata files that PyIceberg writes.

PyArrow's S3 cannot ask for it, so these small files go up through boto3. Data files are DuckDB's, which can.
"""

from __future__ import annotations

import io

import boto3
from pyiceberg.io import OutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

#: The property in which the file access below finds its key.
KEY_PROPERTY = "classic-cars.kms-key"


class EncryptingFileIO(PyArrowFileIO):
    """PyIceberg's usual file access; what it writes to S3 is encrypted with the KMS key of its properties."""

    def new_output(self, location: str) -> PyArrowFile:
        plain = super().new_output(location)
        return _Encrypted(plain, self.properties) if location.startswith("s3://") else plain  # type: ignore[return-value]


class _Encrypted(OutputFile):
    def __init__(self, plain: PyArrowFile, properties: dict[str, str]) -> None:
        super().__init__(plain.location)
        self._plain = plain
        self._properties = properties

    def __len__(self) -> int:
        return len(self._plain)

    def exists(self) -> bool:
        return self._plain.exists()

    def to_input_file(self) -> PyArrowFile:
        return self._plain.to_input_file()

    def create(self, overwrite: bool = False) -> _Upload:
        if not overwrite and self.exists():
            raise FileExistsError(f"{self.location} already exists")
        return _Upload(self.location, self._properties)


class _Upload(io.BytesIO):
    """Collects a file in memory and puts it up when it is closed."""

    def __init__(self, location: str, properties: dict[str, str]) -> None:
        super().__init__()
        self._location = location
        self._properties = properties

    def close(self) -> None:
        if self.closed:
            return
        bucket, _, key = self._location.removeprefix("s3://").partition("/")
        found = self._properties
        client = boto3.client(
            "s3",
            endpoint_url=found.get("s3.endpoint"),
            region_name=found.get("s3.region"),
            aws_access_key_id=found.get("s3.access-key-id"),
            aws_secret_access_key=found.get("s3.secret-access-key"),
            aws_session_token=found.get("s3.session-token"),
        )
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=self.getvalue(),
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=found[KEY_PROPERTY],
        )
        super().close()
