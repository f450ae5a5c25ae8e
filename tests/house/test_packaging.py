"""One distribution, two packages from two roots: a wheel in an empty environment, the editable install."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", "rapyer_core", "codecs"]
PACKAGES = {"rapyer_core": ROOT / "rapyer_core", "rapyer_codecs": ROOT / "codecs" / "rapyer_codecs"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output of a program; its errors are shown when it fails."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what is in the tree, built from a copy: a build leaves files behind, and finds old ones."""
    copy, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, copy / name)
    # No isolation, so nothing is fetched: the extra `dev` brings what the build needs.
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
    run(*pip, "--wheel-dir", str(output), str(copy), cwd=copy)
    (built,) = output.iterdir()
    return built


@pytest.fixture(scope="module")
def empty_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the wheel and its dependencies, and without this source tree."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=home,
    )
    (packages,) = home.glob("lib/python*/site-packages")
    # The dependencies are those of this environment. Its own .pth files, the editable install among them, are
    # not read from there.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


def test_codecs_is_no_package() -> None:
    """A top-level package of that name would shadow the standard library's."""
    assert not (ROOT / "codecs" / "__init__.py").exists()
    assert not [folder for folder in (ROOT / "tests").rglob("codecs") if folder.is_dir()]
    where = run(sys.executable, "-X", "frozen_modules=off", "-c", "import codecs; print(codecs.__file__)", cwd=ROOT)
    assert Path(where.strip()) == Path(sysconfig.get_path("stdlib")) / "codecs.py"


def test_the_wheel_holds_both_packages_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert names == expected
    assert {"rapyer_core/py.typed", "rapyer_codecs/py.typed"} <= names


def test_every_folder_of_code_is_a_package() -> None:
    """A folder without __init__.py would be missing from the wheel."""
    folders = {path.parent for folder in PACKAGES.values() for path in folder.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "rapyer-core"
    assert metadata["Version"] == "0.1.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert {"embedded", "demo", "dev", "docs"} == set(metadata.get_all("Provides-Extra", []))


def test_runtime_dependencies_are_four(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.split(">=")[0] for line in needed) == ["attrs", "cattrs", "hiredis", "redis"]


def test_the_dev_extra_brings_what_the_build_needs() -> None:
    """So that the wheel of these tests is built without fetching anything."""
    import tomllib

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert set(needed) <= set(config["options.extras_require"]["dev"].split("\n"))


def test_the_wheel_works_in_an_empty_environment(empty_python: Path, tmp_path: Path) -> None:
    show = "import rapyer_core, rapyer_codecs; print(rapyer_core.__file__); print(rapyer_codecs.__file__)"
    files = [Path(line) for line in run(empty_python, "-I", "-c", show, cwd=tmp_path).split()]
    assert [file.parent.name for file in files] == ["rapyer_core", "rapyer_codecs"]
    assert all(empty_python.parents[1] in file.parents for file in files)


def test_the_examples_run_with_the_wheel(empty_python: Path, tmp_path: Path) -> None:
    for example in sorted((ROOT / "examples").glob("*.py")):
        run(empty_python, "-I", example, cwd=tmp_path, RAPYER_URL="embedded://")


def test_the_editable_install_imports_from_anywhere(tmp_path: Path) -> None:
    show = "import rapyer_core, rapyer_codecs; print(rapyer_core.__file__); print(rapyer_codecs.__file__)"
    files = [Path(line).parent for line in run(sys.executable, "-I", "-c", show, cwd=tmp_path).split()]
    assert files == list(PACKAGES.values())
