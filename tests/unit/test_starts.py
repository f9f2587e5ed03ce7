"""What starts often, or before it does anything that takes long, starts without what it does not need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from converters.mover.job import read
from kubeferry.errors import InputInvalid
from kubeferry.jobs import MoverJob
from kubeferry.outside import process
from kubeferry.values import DiskRef

ROOT = Path(__file__).parents[2]
JOB = '{"apiVersion": "kubeferry.io/v1alpha1", "kind": "MoverJob", %s}'
FIELDS = '"name": "a", "action": "verify", "target": {"uri": "file:///t"}, "stateDir": "/s"'


@pytest.mark.parametrize("module", ["converters.mover.job", "flows.cli.disks"])
def test_neither_a_mover_nor_a_copy_makes_the_model_or_the_documents(module: str) -> None:
    slow = {
        "pydantic",
        "kubeferry.model",
        "kubeferry.documents",
        "yaml",
        "asyncio",
        "ssl",
        "subprocess",
        "urllib.request",
    }
    code = f"import sys, {module}; found = {slow!r} & set(sys.modules); sys.exit(str(found) if found else 0)"
    process.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)})


def test_a_job_is_read_without_the_readers_of_documents(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(JOB % FIELDS)
    code = (
        "import sys; from pathlib import Path; from converters.mover.job import read; read(Path(sys.argv[1])); "
        "sys.exit('it was read as YAML' if {'yaml', 'pydantic'} & set(sys.modules) else 0)"
    )
    process.run([sys.executable, "-c", code, str(job)], env={"PYTHONPATH": str(ROOT)})
    assert read(job) == MoverJob(name="a", action="verify", target=DiskRef(uri="file:///t"), state_dir="/s")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (JOB % FIELDS.replace("verify", "lick"), "action"),
        (JOB % (FIELDS + ', "name": "b"'), "is there twice"),
        (JOB % (FIELDS + ', "color": "b"'), "is not a field"),
        ((JOB % FIELDS).replace("MoverJob", "Plan"), "kind is 'Plan'"),
        ("{" + FIELDS + "}", "apiVersion is None"),
        ("[]", "not a mapping"),
        ("{", "not valid YAML"),
    ],
)
def test_a_job_with_a_fault_is_refused_like_any_document(tmp_path: Path, text: str, told: str) -> None:
    job = tmp_path / "job.json"
    job.write_text(text)
    with pytest.raises(InputInvalid, match=told):
        read(job)
    with pytest.raises(InputInvalid, match="cannot be read"):
        read(tmp_path / "none")


def test_a_job_may_be_written_by_hand(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "apiVersion: kubeferry.io/v1alpha1\nkind: MoverJob\nname: a\naction: verify\n"
        "target: {uri: file:///t}\nstateDir: /s\n"
    )
    assert read(job).name == "a"
