"""`onhook report-schedule`: reports that are mailed regularly."""

from tests.cli.conftest import Command

ADD = ("report-schedule", "add", "--user", "alice", "--every", "weekly", "--in-zone", "Europe/Berlin")


def test_report_schedule_is_added_changed_tested_paused_and_removed(onhook: Command) -> None:
    assert onhook("user", "add", "alice", "--email", "alice@example.com")[0] == 0
    code, text, error = onhook(*ADD, "--report", "queues", "--filter", "pbx=Office", "--file", "xlsx", "--file", "csv")
    assert (code, text) == (0, "Scheduled as number 1: weekly on Monday at 07:00, Europe/Berlin.\n"), error
    assert onhook("report-schedule", "change", "1", "--hour", "8", "--file", "")[0] == 0
    rows = onhook("report-schedule", "list")[1].splitlines()
    assert rows[1].split()[:7] == ["1", "queues", "alice", "queues", "pbx=Office", "weekly", "alice"]
    assert onhook("report-schedule", "test", "1")[0] == 0
    code, _text, error = onhook("report-schedule", "test", "1")
    assert (code, "sent a moment ago" in error) == (2, True)
    assert onhook("report-schedule", "pause", "1")[0] == 0
    assert "paused" in onhook("report-schedule", "list")[1]
    assert onhook("report-schedule", "resume", "1")[0] == 0
    assert onhook("report-schedule", "remove", "1")[0] == 0
    assert "there is no scheduled report 1" in onhook("report-schedule", "pause", "1")[2]


def test_report_schedule_invalid_values_are_explained(onhook: Command) -> None:
    assert onhook("user", "add", "alice")[0] == 0
    for options, message in (
        (("--user", "bob"), "there is no user 'bob'"),
        (("--user", "alice"), "alice has no e-mail address"),
        (("--user", "alice", "--to", "boss@example.com"), "alice may not have reports sent to other addresses"),
        (("--user", "alice", "--report", "weather"), "there is no report 'weather'"),
        (("--user", "alice", "--filter", "since=7d"), "there is no filter 'since'"),
        (("--user", "alice", "--filter", "status=busy"), "a report counts every outcome"),
        (("--user", "alice", "--filter", "min_talk_duration=x"), "min_talk_duration"),
        (("--user", "alice", "--in-zone", "Berlin"), "Berlin"),
        (("--user", "alice", "--not-to-user"), "has no recipient"),
        (("--user", "alice", "--file", "doc"), "there is no file format 'doc'"),
    ):
        code, _text, error = onhook("report-schedule", "add", *options)
        assert code != 0
        assert message in error
    assert len(onhook("report-schedule", "list")[1].splitlines()) <= 1
