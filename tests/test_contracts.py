"""The promises of the package as a whole: what it exports, what an import does, what an error carries, how it layers."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

import hst_cloud
from hst_cloud import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hst_cloud"
FUNCTIONS = [name for name in hst_cloud.__all__ if inspect.isfunction(getattr(hst_cloud, name))]
ERRORS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]

LONGEST = 400
LONGER = {}
"""Modules that may have more lines, each with its reason."""


# --- What is exported ------------------------------------------------------------------------------------------------


def test_all_is_sorted_and_complete():
    """`__all__` names every public thing of the package that is one of ours, in order."""
    ours = [
        name
        for name, value in vars(hst_cloud).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("hst_cloud.")
    ]
    assert hst_cloud.__all__ == sorted(hst_cloud.__all__)
    assert sorted(set(hst_cloud.__all__) - {"errors"}) == sorted(ours)


def test_the_version_is_one():
    """`__version__` is a version as Python packages have them, be it from git or the fallback."""
    assert str(Version(hst_cloud.__version__)) == hst_cloud.__version__


def test_submodules_come_when_they_are_named():
    """`hst_cloud.testing` needs no import of its own, and a name that is nothing is an AttributeError."""
    assert hst_cloud.testing.LocalArchive.__name__ == "LocalArchive"
    assert hst_cloud.fs.__name__ == "hst_cloud.fs"
    assert hst_cloud.plots.__name__ == "hst_cloud.plots"
    with pytest.raises(AttributeError, match="module 'hst_cloud' has no attribute 'teleport'"):
        _ = hst_cloud.teleport


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_keep_the_convention(name):
    """The product and at most two more by position, no boolean among them, and no `**kwargs` that would swallow a typing error, but those that `map` passes on."""
    parameters = inspect.signature(getattr(hst_cloud, name)).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert (0 if name in {"budget", "report", "where"} else 1) <= len(positional) <= 3  # these are about no product
    assert not [p.name for p in positional if isinstance(p.default, bool)]
    assert not [p.name for p in parameters if p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL} and name != "map"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_are_complete(name):
    """Every public function documents each of its parameters, what it returns and raises, its cost, and an example."""
    docscrape = pytest.importorskip("numpydoc.docscrape")
    function = getattr(hst_cloud, name)
    doc = docscrape.FunctionDoc(function)
    documented = [each.lstrip("*") for parameter in doc["Parameters"] for each in parameter.name.split(", ")]
    assert documented == list(inspect.signature(function).parameters)
    assert doc["Returns"] or doc["Yields"]
    assert doc["Raises"]
    assert doc["Notes"][0].startswith("Requests:")
    assert [line for line in doc["Examples"] if line.startswith(">>>")]


# --- What an import does ---------------------------------------------------------------------------------------------

SILENCE = """
import json, os, sys

PACKAGE = sys.argv[1]
done = []


def ours():
    # Whether the package does it itself, rather than something foreign that is being imported.
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            return True
        if name.startswith("<frozen importlib"):
            return False
        frame = frame.f_back
    return False


def watch(event, details):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"}:
        done.append([event, str(details[1:])])
    elif event in {"open", "socket.bind", "socket.__new__", "os.mkdir", "subprocess.Popen", "os.putenv"} and ours():
        done.append([event, str(details[0])])


read = os._Environ.__getitem__


def watched(self, key):
    if ours():
        done.append(["environ", key])
    return read(self, key)


os._Environ.__getitem__ = watched
sys.addaudithook(watch)

import hst_cloud
from hst_cloud.store.adapters import FolderStore
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import LocalArchive

light = sorted(set(sys.modules) & set(sys.argv[2:]))
hst_cloud.Product(filename="jbqf03gjq_flc.fits")
HTTPStore("https://localhost:1/nobody"), FolderStore("/nowhere"), LocalArchive("/nowhere")
print(json.dumps({"done": done, "modules": light}))
"""

HEAVY = [
    "astroquery",
    "boto3",
    "botocore",
    "s3fs",
    "obstore",
    "matplotlib",
    "dask",
    "distributed",
    "specutils",
    "click",
    "pyarrow",
    "moto",
]


@pytest.fixture(scope="module")
def silence():
    """Return what importing the package and making its objects did, in a fresh interpreter."""
    command = [sys.executable, "-c", SILENCE, str(PACKAGE), *HEAVY]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_import_and_construction_are_silent(silence):
    """Neither opens a socket or a file, makes a folder, starts a process, or looks at the environment."""
    assert silence["done"] == []


def test_import_is_light(silence):
    """What is slow to import is imported by the function that needs it."""
    assert silence["modules"] == []


def test_import_sets_up_no_logging():
    """The package's logger has the handler that drops everything, and no level of its own."""
    code = "import logging, hst_cloud; l = logging.getLogger('hst_cloud'); print(l.level, *map(type, l.handlers))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.strip() == "0 <class 'logging.NullHandler'>"
    assert said.stderr == ""


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_errors_can_be_pickled(error):
    """A worker's error arrives whole: its type, its message, and what a program may want to look at."""
    facts = {"key": "hst/public/k", "uri": "mast:HST/u", "url": "https://h", "request_id": "R1", "attempts": 3}
    again = pickle.loads(pickle.dumps(error("what happened", **facts)))
    assert type(again) is error
    assert str(again) == "what happened"
    assert {name: getattr(again, name) for name in facts} == facts


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_errors_keep_their_text(error):
    """None is a KeyError, whose text is quoted, and every attribute may be left out."""
    assert issubclass(error, errors.HSTCloudError)
    assert not issubclass(error, KeyError)
    plain = error("what happened")
    assert str(plain) == "what happened"
    assert {plain.key, plain.uri, plain.url, plain.request_id, plain.attempts} == {None}


def documented_tree():
    """Return (name, names of bases) of each error, as the drawing in the docstring of `hst_cloud.errors` has it."""
    path, found = [], []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^    ([ │├└─]*)(\w+Error)(?:\((\w+)\))?(?: {2,}\S.*)?$", line)
        if match:
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            found.append((match[2], {path[-2] if depth else "Exception", match[3]} - {None}))
    return found


def test_the_drawn_tree_is_the_true_one():
    """The tree in the docstring shows every error once, below its parent and with its builtin."""
    true = {e.__name__: {base.__name__ for base in e.__bases__} for e in ERRORS}
    assert dict(documented_tree()) == true
    assert len(documented_tree()) == len(true)


def test_leaves_are_builtins_too():
    """A stranger catches each leaf by a builtin, but for the answer that nobody could have foreseen."""
    builtin = {e for e in vars(builtins).values() if isinstance(e, type) and issubclass(e, Exception)} - {Exception}
    strange = [e.__name__ for e in ERRORS if not e.__subclasses__() and not builtin & set(e.__mro__)]
    assert strange == ["ArchiveAnswerError"]


def test_every_error_is_raised_somewhere():
    """An error that nothing raises would be a promise without a thing."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name != "errors.py")
    parents = {base for e in ERRORS for base in e.__bases__}
    assert [e.__name__ for e in ERRORS if e not in parents and e.__name__ not in text] == []


# --- The source ------------------------------------------------------------------------------------------------------


def modules():
    """Return every module's path, but the one that the build writes."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "_version.py")


def test_modules_are_short():
    """A module of more than 400 lines asks for a seam."""
    lines = {str(p.relative_to(PACKAGE)): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert {name: n for name, n in lines.items() if n > LONGEST and name not in LONGER} == {}


def test_modules_say_what_they_are_for():
    """Every module begins with a docstring whose first line is a sentence."""
    first = {
        str(p.relative_to(PACKAGE)): (ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) or "").split("\n")[0]
        for p in modules()
    }
    assert {name: text for name, text in first.items() if not text.endswith((".", ":"))} == {}


def test_layers_hold():
    """No layer imports one above it, and one module alone meets each foreign engine."""
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dependencies_have_bounds_and_reasons():
    """Each dependency that is installed with the package has a lower bound, and the reason beside it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [each for name, extra in extras.items() if name != "all" for each in extra]
    assert [each for each in wanted if ">=" not in each] == []
    assert [each for each in wanted if not re.search(rf'"{re.escape(each)}"[\],]* +# \w', text)] == []


def test_all_extras_are_in_all():
    """`hst-cloud[all]` leaves no extra out."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["all"] == [f"hst-cloud[{','.join(name for name in extras if name != 'all')}]"]


def test_the_environment_is_read_in_one_place():
    """`settings` alone reads variables, so that its table can be complete; the others set one, or tell that it is set."""
    reading = re.compile(r"os\.(environ|getenv)|from os import.*environ")
    found = {p.relative_to(PACKAGE).as_posix() for p in modules() if reading.search(p.read_text(encoding="utf-8"))}
    assert found <= {"settings.py", "testing/archive.py", "cli/streams.py", "doctor/here.py"}
