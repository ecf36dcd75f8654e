"""What users install: the lists of packages agree, and the wheel holds all that it needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hdpainter_nb
from hdpainter_nb.utils.files import data_path

ROOT = Path(__file__).resolve().parent.parent
PIP_ONLY = {"opencv-python-headless"}  # listed under `pip:` in environment.yml
CONDA_NAMES = {"pytorch": "torch"}
DEV_IN_CONDA = {"nbval"}  # a tool that the conda environment brings along

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="needs a complete checkout"
)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def split(requirement: str) -> tuple[str, str]:
    """Return the normalised name and what follows it, ``>=1.2`` say."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*([^;#\s]*)", requirement)
    assert match, requirement
    return normal(match[1]), match[2]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def runtime() -> dict[str, str]:
    return dict(map(split, project()["dependencies"]))


def dev() -> dict[str, str]:
    return dict(map(split, project()["optional-dependencies"]["dev"]))


def pins(name: str) -> dict[str, str]:
    """The pinned versions of a constraints file and of those that it includes."""
    pinned: dict[str, str] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-c "):
            pinned |= pins(line[3:].strip())
        elif line.strip() and not line.startswith("#"):
            package, version = split(line)
            assert package not in pinned, f"{package} is pinned twice in {name}"
            pinned[package] = version
    return pinned


def conda() -> tuple[dict[str, str], dict[str, str]]:
    """Return what environment.yml takes from conda and what from pip.

    The file is plain enough to be read by indentation, which spares a YAML parser.
    """
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    items = lines[lines.index("dependencies:") + 1 :]
    taken: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for line in items:
        text = line.strip().removeprefix("- ")
        if line.strip().startswith("#") or not text or text == "pip:" or text.startswith("-e"):
            continue
        name, bound = split(text)
        taken[line.startswith("    ")][CONDA_NAMES.get(name, name)] = bound
    return taken


# --- the lists ------------------------------------------------------------------------------------


def test_every_dependency_has_a_lower_bound() -> None:
    for name, bound in {**runtime(), **dev()}.items():
        assert re.fullmatch(r">=\d+(\.\d+)*", bound), f"{name}{bound}"


def test_conda_environment_equals_the_project() -> None:
    from_conda, from_pip = conda()
    assert from_conda.pop("python") == "=3.11"
    from_conda.pop("pip")
    tools = {name: from_conda.pop(name) for name in DEV_IN_CONDA}
    assert tools == {name: dev()[name] for name in DEV_IN_CONDA}
    assert set(from_pip) == PIP_ONLY
    assert from_conda | from_pip == runtime()


def test_constraints_pin_every_direct_package() -> None:
    pinned = pins("constraints.txt")
    assert {**runtime(), **dev()}.keys() <= pinned.keys()
    for name, version in pinned.items():
        assert re.fullmatch(r"==\d+(\.\d+)*", version), f"{name}{version}"


def test_lowest_constraints_are_the_lower_bounds() -> None:
    lowest = pins("constraints-lowest.txt")
    for name, bound in runtime().items():
        if name == "torch":  # borrowed from .venv
            assert name not in lowest
        else:
            assert lowest[name] == bound.replace(">=", "=="), name


@pytest.mark.parametrize("name", ["constraints-dev.txt", "constraints-lowest.txt"])
def test_tested_sets_name_a_version_of_all(name: str) -> None:
    for package, version in pins(name).items():
        assert re.fullmatch(r"==\d+(\.\d+)*(\.post\d+)?", version), f"{package}{version}"


def test_all_that_developers_install_is_pinned() -> None:
    """From the project's own requirements down, as CI's system and Python read them."""
    linux = {
        "python_version": "3.11",
        "python_full_version": "3.11.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    pinned = pins("constraints-dev.txt")
    open_ends = [Requirement(text) for text in project()["dependencies"]]
    open_ends += [Requirement(text) for text in project()["optional-dependencies"]["dev"]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while open_ends:
        wanted = open_ends.pop()
        key = normal(wanted.name), frozenset(wanted.extras)
        if key in seen or re.fullmatch(r"triton|(nvidia|cuda)-.*", key[0]):
            continue  # what torch needs of a GPU's libraries it pins itself
        seen.add(key)
        assert key[0] in pinned, f"constraints-dev.txt lacks {key[0]}: run make pins"
        for text in requires(wanted.name) or ():
            below = Requirement(text)
            extras = wanted.extras or {""}
            if below.marker is None or any(
                below.marker.evaluate({**linux, "extra": extra}) for extra in extras
            ):
                open_ends.append(below)
    assert len(seen) > 100


def test_pinned_javascript_is_hashed_and_names_no_place() -> None:
    folder = ROOT / "widgets" / "js"
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    here, *others = lock["packages"].values()
    assert here["devDependencies"] == package["devDependencies"]
    assert others
    for other in others:
        assert other["integrity"].startswith("sha512-")
        assert "resolved" not in other


def test_what_is_not_asked_is_not_taken_for_well(tmp_path: Path) -> None:
    """`make audit` without a registry: a sentence, and a failure."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    tool = tmp_path / "bin" / "pip-audit"
    tool.parent.mkdir()
    (tool.parent / "python").symlink_to(sys.executable)

    def audit(answer: str, npm: str) -> tuple[int, str]:
        for name, text in (("pip-audit", answer), ("npm", npm)):
            path = tool.with_name(name)
            path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
            path.chmod(0o755)
        done = subprocess.run(
            [str(tool.parent / "python"), ROOT / ".ci" / "audit.py", tmp_path, tmp_path],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"},
        )
        return done.returncode, done.stdout + done.stderr

    code, text = audit("no network", '{"error": {"code": "ENOTFOUND"}}')
    assert code == 1
    assert text.count("could not be asked: the registry is not reached") == 2
    well = '{"dependencies": [{"name": "x", "version": "1", "vulns": []}]}'
    counted = '{"metadata": {"dependencies": {"total": 5}}, "vulnerabilities": %s}'
    code, text = audit(well, counted % "{}")
    assert (code, text.count("looked up")) == (0, 2)
    harmful = well.replace("[]", '[{"id": "CVE-1", "fix_versions": ["2"]}]')
    code, text = audit(harmful, counted % '{"y": {"range": "<3", "severity": "high"}}')
    assert code == 1
    assert "x 1: CVE-1, mended in 2" in text
    assert "y <3: high" in text


def test_pins_satisfy_the_bounds() -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", version)))

    pinned = pins("constraints.txt")
    for name, bound in {**runtime(), **dev()}.items():
        assert numbers(pinned[name]) >= numbers(bound), name


# --- the import -----------------------------------------------------------------------------------


def test_import_is_light() -> None:
    """Importing the library is quick, and leaves the heavy packages for when they are needed."""
    code = (
        "import sys, time; start = time.perf_counter(); import hdpainter_nb; "
        "print(time.perf_counter() - start, *sys.modules)"
    )
    seconds = []
    for _ in range(3):
        took, *modules = run(sys.executable, "-c", code).split()
        seconds.append(float(took))
        heavy = {"torch", "diffusers", "transformers", "IPython", "ipywidgets", "matplotlib"}
        assert not heavy & set(modules)
    assert min(seconds) < 0.5


def test_version_is_written_once() -> None:
    assert hdpainter_nb.__version__ == hdpainter_nb._version.__version__
    assert "version" in project()["dynamic"]


# --- the data -------------------------------------------------------------------------------------


def test_data_is_found() -> None:
    assert (data_path("samples")).is_dir()
    assert data_path("mini", "model_index.json").is_file()
    assert data_path() == data_path("mini").parent


def test_missing_data_is_named_with_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match=r"'samples/nothing\.jpg' is not bundled.*holds:"):
        data_path("samples", "nothing.jpg")


def test_data_outside_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hdpainter_nb.utils import files

    monkeypatch.setattr(files, "_WHEEL", tmp_path / "_data")
    monkeypatch.setattr(files, "_CHECKOUT", tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=r"pip install -e \."):
        data_path("mini")


# --- the wheel ------------------------------------------------------------------------------------


def run(*command: str | Path, cwd: Path | None = None) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what a commit would hold, with no network."""
    pytest.importorskip("hatchling")
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("hdpainter_nb", "widgets/hdpainter_widgets", "data"):
        skip = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / "tree" / name)
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation",
        "--outdir", folder / "dist", folder / "tree",
    )  # fmt: skip
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_wheel_holds_what_it_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name == f"hdpainter_nb-{hdpainter_nb.__version__}-py3-none-any.whl"
    assert "hdpainter_nb/py.typed" in names
    assert "hdpainter_nb/_data/mini/model_index.json" in names
    assert any(name.endswith(".safetensors") for name in names)
    for name in (
        "data/mini",
        "data/mini_smartbrush",
        "data/mini_text",
        "data/mini_x4",
        "data/samples",
        "hdpainter_nb",
        "widgets/hdpainter_widgets",
    ):
        held = name.replace("data/", "hdpainter_nb/_data/").removeprefix("widgets/")
        for file in (ROOT / name).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"{held}/{file.relative_to(ROOT / name).as_posix()}" in names
    static = [name for name in names if name.startswith("hdpainter_widgets/static/")]
    assert any(name.endswith(".js") for name in static)
    assert any(name.endswith(".css") for name in static)
    tops = {name.split("/")[0] for name in names}
    assert tops == {
        "hdpainter_nb",
        "hdpainter_widgets",
        f"hdpainter_nb-{hdpainter_nb.__version__}.dist-info",
    }
    strays = {"tests", "node_modules", "__pycache__"}
    assert not [name for name in names if strays & set(name.split("/"))]


@pytest.mark.slow
def test_installed_wheel_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """A new environment with the wheel alone; all else is borrowed from the one that runs this."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # Only the folder is lent: a .pth in it (an editable install's, say) is not read again.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    code = """
import hdpainter_nb, hdpainter_widgets
from hdpainter_nb import load
from hdpainter_nb import data_path
assert load("mini") is not None
assert any(data_path("samples").iterdir())
print(hdpainter_nb.__file__, hdpainter_widgets.__file__, data_path("mini"), sep="\\n")
"""
    for line in run(python, "-c", code, cwd=empty).splitlines()[-3:]:
        assert Path(line).is_relative_to(site.resolve()), line
    assert not list(empty.iterdir())
