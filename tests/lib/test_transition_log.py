"""Conditions are logged once when they begin and once when they end."""

import logging

import pytest

from onhook.lib.transition_log import TransitionLog, Transitions


def test_transition_log_lasting_condition_logs_begin_and_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = TransitionLog(logging.getLogger("store"), begins="the store is locked", ends="the store is free")
    log.end()
    log.begin(error="busy")
    log.begin(error="busy")
    log.end()
    log.end()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the store is locked"),
        ("INFO", "the store is free"),
    ]


def test_transition_log_condition_that_comes_back_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    log = TransitionLog(logging.getLogger("store"), begins="locked", ends="free", level=logging.WARNING)
    for _ in range(2):
        log.begin()
        log.end()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["locked", "locked"]


def test_transitions_single_conditions_begin_and_end_once() -> None:
    transitions = Transitions[str]()
    conditions = ("locked", "locked", "full")
    assert [transitions.begin("crm", condition) for condition in conditions] == [True, False, True]
    assert transitions.begin("erp", "locked")
    assert [transitions.end("crm"), transitions.end("crm")] == [True, False]
    assert transitions.update({}) == ([], ["locked"])
