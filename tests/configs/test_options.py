"""Options are declared once: everything else follows from the table."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from lib.configs.option import EVERYWHERE, Where, read_options
from lib.configs.options import CLASSES, PromptOptions, Settings, options_of
from lib.configs.tasks import TaskConfig, prompt_options
from lib.errors import BadInput
from lib.evaluation.configurations import Configuration
from tools.options_table import README, with_table

APP = Path(__file__).parents[2] / "apps" / "sam2_ct"


def test_every_field_is_an_option_of_a_name_of_its_own():
    names = [o.name for o in options_of()]
    assert names == [f.name for cls in CLASSES for f in fields(cls)]
    assert len(set(names)) == len(names)
    assert all(o.help and o.where & EVERYWHERE for o in options_of())


@pytest.mark.parametrize("option", options_of(), ids=lambda o: o.name)
def test_what_is_written_reads_back(option):
    written = option.write(option.default)
    assert written is None or option.read(written) == option.default
    for choice in option.choices:
        if not choice.startswith("clahe+"):
            assert str(option.write(option.read(choice))) == choice


def test_a_choice_stands_first_where_it_is_the_default():
    for option in options_of():
        if option.choices:
            assert option.menu_items(option.default)[0] == option.choices[0]


@pytest.mark.parametrize("option", options_of(where=Where.SERVER), ids=lambda o: o.name)
def test_the_server_takes_what_is_valid_there(option):
    examples = {"origins": "https://a.example", "expose": "train,logs"}
    value = examples.get(
        option.name, str(option.choices[-1] if option.choices else option.default_text or "x")
    )
    config = TaskConfig.parse({option.name: value})
    holder = config if hasattr(config, option.name) else config.settings
    assert getattr(holder, option.name) == option.read(value)


def test_what_belongs_elsewhere_is_refused():
    with pytest.raises(BadInput, match="unknown --conf overlap"):
        TaskConfig.parse({"overlap": "true"})
    with pytest.raises(BadInput, match="unknown option 'labels'"):
        Configuration.parse({"labels": "rib"})


def test_menus():
    shown = prompt_options("prompt_slices", "source", "object")
    assert shown == {
        "prompt_slices": "auto",
        "source": ["auto", "accepted", "submitted"],
        "object": "",
    }


def test_other_options_are_passed_over():
    assert read_options(PromptOptions, {"policy": "sps", "source": "submitted"}).source == (
        "submitted"
    )
    assert read_options(PromptOptions, {"prompt_slices": "7,3"}).prompt_slices == (3, 7)


def test_one_default_policy():
    (policy,) = (o for o in options_of(Settings) if o.name == "policy")
    assert Settings().policy == policy.default
    assert TaskConfig.parse({}).settings.policy == policy.default


def test_the_readme_has_the_table():
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "run python tools/options_table.py"


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "--help"],
        ["segment", "ct.nii", "-o", "out.nii.gz", "--policy", "magic"],
        ["segment", "ct.nii", "-o", "out.nii.gz", "--axis", "diagonal"],
    ],
)
def test_told_without_torch_and_monai(words):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from lib.commands import execute\n"
        "from lib.commands.main import app\n"
        "import lib.configs.tasks\n"
        "code = execute(app, sys.argv[2:])\n"
        "assert not {'torch', 'monai', 'monailabel', 'sam2'} & set(sys.modules), sys.modules\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(APP), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == (0 if "--help" in words else 2), done.stderr
