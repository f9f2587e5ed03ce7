"""Windows as a policy has them: what is none is refused with its line, all of it at once."""

import re

import pytest
from pydantic import ValidationError

from kubeferry.documents import Policy, Window, parse
from kubeferry.errors import InputInvalid

HEAD = "apiVersion: kubeferry.io/v1alpha1\nkind: Policy\n"


def read(windows: str) -> Policy:
    return parse(f"{HEAD}windows:\n{windows}", Policy)


def window(**changes: object) -> Window:
    return Window.model_validate({"start": "21:00", "end": "05:00", "timeZone": "Europe/Vienna"} | changes)


def test_a_window_of_nights_and_one_of_a_single_night_are_read() -> None:
    policy = read(
        "  nights: {start: '21:00', end: '05:00', timeZone: Europe/Vienna, days: [fri, sat], lockoutSeconds: 1800,\n"
        "    capacity: 20, blackouts: [2026-12-24..2027-01-06, 2026-10-31]}\n"
        "  move: {start: 2027-03-06T21:00, end: 2027-03-07T03:00, timeZone: UTC}\n"
        "window: nights\n"
    )
    assert policy.windows is not None
    assert list(policy.windows) == ["nights", "move"]
    assert [one.seconds for one in policy.windows.values()] == [8 * 3600, 6 * 3600]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timeZone": "Europe/Vena"}, "'Europe/Vena' is not a time zone. Did you mean 'Europe/Vienna'"),
        ({"timeZone": "vienna"}, "Did you mean 'Europe/Vienna'"),
        ({"timeZone": "Europe"}, "is not a time zone"),
        ({"timeZone": "../../etc/passwd"}, "is not a time zone"),
        ({"start": "2027-03-06T21:00", "end": "2027-03-06T20:00"}, "it ends before it starts"),
        ({"start": "2027-03-06T21:00"}, "both times of day"),
        ({"start": "2027-03-06T21:00", "end": "2027-03-07T20:00", "days": ["sat"]}, "leave out days and dates"),
        ({"days": ["sat"], "dates": ["2027-03-06"]}, "leave out one of them"),
        ({"days": ["saturday"]}, "'mon', 'tue'"),
        ({"days": []}, "at least 1 item"),
        ({"dates": ["2027-02-30"]}, "day is out of range"),
        ({"start": "21:00", "end": "21:00"}, "write 24:00"),
        ({"start": "24:00"}, "write 00:00"),
        ({"start": "9 pm"}, "write a time of day"),
        ({"start": "2027-02-30T21:00", "end": "2027-03-30T21:00"}, "day is out of range"),
        ({"lockoutSeconds": 8 * 3600}, "its lock-out of 28800 s leaves nothing of its 28800 s"),
        ({"lockoutSeconds": -1}, "greater than or equal to 0"),
        ({"capacity": 0}, "greater than or equal to 1"),
        ({"blackouts": ["24.12.2026"]}, "write a day"),
        ({"blackouts": ["2026-12-24..2026-12-23"]}, "its last day comes before its first"),
        ({"dates": ["2026-12-24"], "blackouts": ["2026-12-24..2026-12-25"]}, "it never opens"),
        ({"dates": ["2026-12-24"], "end": "24:00", "blackouts": ["2026-12-24"]}, "it never opens"),
    ],
)
def test_what_is_no_window_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        window(**changes)


def test_a_window_of_which_a_part_is_left_is_one() -> None:
    assert window(dates=["2026-12-24"], blackouts=["2026-12-24"]).dates == ("2026-12-24",)  # the next morning is left


def test_all_that_is_wrong_is_told_at_once_with_its_line() -> None:
    with pytest.raises(InputInvalid) as caught:
        read(
            "  a: {start: 21:00, end: '05:00', timeZone: Europe/Vena}\n"
            "  b:\n"
            "    start: '21:00'\n"
            "    end: '05:00'\n"
            "    timeZone: UTC\n"
            "    lockoutSeconds: 90000\n"
        )
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    assert "windows.a.start" in told[0]
    assert "Put it in quotes" in told[0]
    assert "windows.a.timeZone" in told[1]
    assert told[2].startswith("document:5: windows.b: its lock-out of 90000 s leaves nothing")


def test_no_window_is_called_any() -> None:
    with pytest.raises(InputInvalid, match="cannot be called any"):
        read("  any: {start: '21:00', end: '05:00', timeZone: UTC}\n")
