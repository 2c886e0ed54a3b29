"""Finding functions, and describing errors in one line."""

from __future__ import annotations

import sys

import pytest

from mpiens.blame import describe_exception
from mpiens.errors import ModelError, SpecError, TrialError
from mpiens.models.loading import load_function


@pytest.fixture(autouse=True)
def _untouched_imports(monkeypatch):
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, text, name="model.py"):
    path = folder / name
    path.write_text(text)
    return f"{path}:f"


def test_file_can_import_its_neighbours(tmp_path):
    write(tmp_path, "value = 7\n", "neighbour_of_model.py")
    function = load_function(write(tmp_path, "from neighbour_of_model import value\ndef f(t): return value\n"), "/")
    assert function(None) == 7
    assert function.__code__.co_filename == str(tmp_path / "model.py")
    assert sys.path[0] == str(tmp_path)


def test_setup_and_function_share_one_module(tmp_path):
    target = write(tmp_path, "state = []\ndef f(t): return state\ndef g(): state.append(1)\n")
    load_function(target.replace(":f", ":g"), str(tmp_path))()
    assert load_function(target, str(tmp_path))(None) == [1]


def test_file_named_like_a_library_does_not_replace_it(tmp_path):
    import json

    function = load_function(write(tmp_path, "def f(t): return 1\n", "json.py"), str(tmp_path))
    assert function(None) == 1
    assert sys.modules["json"] is json


def test_dotted_module_in_the_folder(tmp_path):
    write(tmp_path, "def f(t): return 3\n", "mymodel_xy.py")
    assert load_function("mymodel_xy:f", str(tmp_path))(None) == 3


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("modle.py:f", "did you mean 'model.py'?"),
        ("model.py:simulat", "no function 'simulat'; did you mean 'simulate'?"),
        ("model.py:number", "'number' is an int, expected a function"),
        ("model.py", "must be path.py:function"),
        ("no_such_module_here:f", "no module 'no_such_module_here'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, target, says):
    write(tmp_path, "number = 1\ndef simulate(trial): ...\n")
    with pytest.raises(SpecError) as caught:
        load_function(f"{tmp_path}/{target}" if ".py" in target else target, str(tmp_path))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n\nraise ValueError('boom')\n", "model.py:3: raises on import: ValueError: boom"),
        ("import sys\nsys.exit(3)\n", "model.py:2: raises on import: SystemExit: 3"),
        ("def f(:\n", "model.py:1: raises on import: SyntaxError: invalid syntax"),
        (
            "import no_such_thing\n",
            "model.py:1: raises on import: ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        ("def g():\n    {}['k']\ng()\n", "model.py:2: raises on import: KeyError: 'k'"),
    ],
)
def test_raising_on_import(tmp_path, text, says):
    with pytest.raises(ModelError) as caught:
        load_function(write(tmp_path, text), str(tmp_path))
    assert str(caught.value) == says
    assert caught.value.__cause__ is not None
    assert "model" not in sys.modules


def described(tmp_path, body):
    function = load_function(write(tmp_path, f"def f(t):\n    {body}\n"), str(tmp_path))
    with pytest.raises(BaseException) as caught:
        function(None)
    return describe_exception(caught.value, str(tmp_path))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('a\\n  b')", "model.py:2: ValueError: a b"),
        ("raise KeyError('weight')", "model.py:2: KeyError: 'weight'"),
        ("assert 1 > 2", "model.py:2: AssertionError (assert 1 > 2)"),
        ("import json; json.loads('{')", "model.py:2: JSONDecodeError: Expecting property name"),
        ("compile('x =', 'formula', 'exec')", "formula:1: SyntaxError: invalid syntax"),
        ("raise RuntimeError('hocobj_call error: hoc_execerror: no such section')", "RuntimeError: no such section"),
    ],
)
def test_description(tmp_path, body, says):
    assert says in described(tmp_path, body)


def test_long_message_is_cut(tmp_path):
    text = described(tmp_path, "raise ValueError('x' * 5000 + 'end')")
    assert len(text) < 500
    assert text.endswith("end")


def test_broken_message_is_survived(tmp_path):
    text = described(tmp_path, "class E(Exception):\n        __str__ = None\n    raise E")
    assert "its message cannot be formed" in text


def test_own_errors_need_no_class_name(tmp_path):
    assert describe_exception(TrialError("it sent nothing"), str(tmp_path)) == "it sent nothing"
