"""Submissions are found as a file, a folder or an installed name; mistakes are one sentence."""

from pathlib import Path

import pytest

from timetrial.algorithms.registry import identify, known_submissions, load_submission
from timetrial.api import SearchSpace, TrainingAlgorithm
from timetrial.errors import UserError

GOOD = """
from timetrial.api import TrainingAlgorithm
class Mine(TrainingAlgorithm):
    def step(self, task, batch): pass
"""


@pytest.mark.parametrize("name", sorted(known_submissions()))
def test_every_installed_submission_is_complete(name: str) -> None:
    submission = identify(name)
    algorithm = load_submission(submission.location)
    assert submission.name == name
    assert len(submission.sha256) == 64
    assert algorithm.hyperparameters
    if algorithm.search_space is not None:  # entries of the ruleset without tuning have none
        assert isinstance(algorithm.search_space, SearchSpace)
        assert set(algorithm.search_space.dimensions) <= set(algorithm.hyperparameters)


def test_a_file_is_named_after_itself_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "my optimizer.py"
    path.write_text(GOOD)
    before = identify(str(path))
    assert before.name == "my_optimizer"
    assert issubclass(load_submission(before.location), TrainingAlgorithm)
    path.write_text(GOOD + "# changed")
    assert identify(str(path)).sha256 != before.sha256


def test_a_folder_may_have_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "helper_of_team.py").write_text("RATE = 0.25")
    (folder / "submission.py").write_text("from helper_of_team import RATE\n" + GOOD + "    rate = RATE\n")
    submission = identify(str(folder))
    assert submission.name == "team"
    assert load_submission(submission.location).rate == 0.25  # type: ignore[attr-defined]
    (folder / "helper_of_team.py").write_text("RATE = 0.5")
    assert identify(str(folder)).sha256 != submission.sha256


def test_one_of_several_classes_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(GOOD + GOOD.replace("Mine", "Other"))
    with pytest.raises(UserError, match=r"found Mine, Other; name one as in file\.py:ClassName"):
        load_submission(identify(str(path)).location)
    assert load_submission(identify(f"{path}:Other").location).__name__ == "Other"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", "expected exactly one subclass of timetrial.api.TrainingAlgorithm, found none"),
        ("import nonsense_package", "cannot be imported: ModuleNotFoundError: No module named 'nonsense_package'"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        (
            "from timetrial.api import TrainingAlgorithm\nclass Idle(TrainingAlgorithm): pass",
            r"Idle must define step\(self, task, batch\)",
        ),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        load_submission(identify(str(path)).location)


def test_a_class_that_is_no_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text("class Odd: pass")
    with pytest.raises(UserError, match="Odd must be a subclass"):
        load_submission(identify(f"{path}:Odd").location)
    with pytest.raises(UserError, match="expected a class Even, found none"):
        load_submission(identify(f"{path}:Even").location)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("nadam", "unknown submission 'nadam': did you mean 'nadamw'"),
        ("./nowhere.py", "no such file or folder"),
        ("tests", "expected a file submission.py in this folder"),
    ],
)
def test_mistakes_in_a_reference(reference: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(UserError, match=complaint):
        identify(reference)
