"""Lines of files that a spreadsheet has saved again: no line is counted as another call or leg."""

import json

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.client import FileSurvey, StoredLeg
from onhook.pbx.yeastar.client import YeastarClient
from onhook.pbx.yeastar.headings import _HEADINGS as HEADINGS_BY_NAME
from onhook.pbx.yeastar.headings import _fold as fold_heading
from onhook.pbx.yeastar.payload import Yeastar

CLIENT, YEASTAR = YeastarClient(), Yeastar()
SN = "3631A2124ABC"
Row = dict[str, str]


def page_row(uid: str, time: str = "2026-11-28 03:51:40", **changes: str) -> Row:
    row = {"ID": uid, "Time": time, "Call From": "5550100", "Call To": "1001", "Call Duration(s)": "60"}
    return row | {name.replace("_", " "): value for name, value in changes.items()}


def own_row(call_id: str, uid: str, time: str = "2026-11-28 03:51:40") -> Row:
    return {"call_id": call_id, "time_start": time, "call_from": "5550100", "call_to": "1001", "uid": uid, "seq": "1"}


def read(
    rows: list[Row], calls: dict[str, str] | None = None, legs: tuple[StoredLeg, ...] = ()
) -> list[CallDetails | str]:
    """Return the call or the reason of each line; `calls` are stored call ids by `uid`."""
    survey = CLIENT.survey_file(rows)
    results: list[CallDetails | str] = []
    for row in rows:
        call_id = (calls or {}).get(CLIENT.get_file_row_uid(row, survey), "")
        body = CLIENT.format_file_row(SN, row, "", call_id, survey=survey, stored_legs=legs)
        try:
            results += YEASTAR.parse(body)
        except ParseError as error:
            results.append(error.message)
    return results


def call_ids(results: list[CallDetails | str]) -> list[str]:
    return [result.call_id if isinstance(result, CallDetails) else "" for result in results]


# In each language the headings of `CELLS`.
HEADINGS = {
    "English": "ID|Time|Call From|Call To|Call Duration(s)|Ring Duration(s)|Talk Duration(s)|Status|Communication Type",
    "Spanish": (
        "ID|Hora|Llamada desde|Llamada a|Duración de la llamada(s)|Duración del timbre(s)"
        "|Duración de la conversación(s)|Estado|Tipo de comunicación"
    ),
    "German": "ID|Zeit|Anruf von|Anruf an|Anrufdauer(s)|Klingeldauer(s)|Gesprächsdauer(s)|Status|Kommunikationstyp",
    "German, short": "ID|Datum|Von|An|Dauer|Rufdauer|Sprechdauer|Status|Anruftyp",
    "French": (
        "ID|Heure|Appel de|Appel à|Durée de l'appel(s)|Durée de sonnerie(s)|Durée de conversation(s)|Statut"
        "|Type de communication"
    ),
    "Italian": (
        "ID|Ora|Chiamata da|Chiamata a|Durata chiamata(s)|Durata squillo(s)|Durata conversazione(s)|Stato"
        "|Tipo di comunicazione"
    ),
    "Italian, short": "ID|Data|Da|A|Durata|Durata squillo|Durata della conversazione|Stato|Tipo di chiamata",
    "Portuguese": (
        "ID|Horário|Chamada de|Chamada para|Duração da chamada(s)|Duração do toque(s)|Duração da conversa(s)|Situação"
        "|Tipo de comunicação"
    ),
    "Portuguese, short": "ID|Data|De|Para|Duração|Duração do toque|Duração da conversa|Estado|Tipo de chamada",
    "Dutch": "ID|Tijd|Oproep van|Oproep naar|Oproepduur(s)|Belduur(s)|Gesprekstijd(s)|Status|Communicatietype",
    "Polish": (
        "ID|Czas|Połączenie od|Połączenie do|Czas trwania połączenia(s)|Czas dzwonienia(s)|Czas rozmowy(s)|Status"
        "|Typ komunikacji"
    ),
    "Czech": "ID|Čas|Hovor od|Hovor na|Délka hovoru(s)|Doba vyzvánění(s)|Doba rozhovoru(s)|Stav|Typ komunikace",
    "Turkish": "ID|Zaman|Arayan|Aranan|Çağrı süresi(s)|Çalma süresi(s)|Konuşma süresi(s)|Durum|İletişim türü",  # noqa: RUF001
    "Russian": (
        "ID|Время|Вызов от|Вызов на|Длительность вызова(s)|Длительность дозвона(s)|Длительность разговора(s)|Статус"
        "|Тип связи"
    ),
    "Chinese, simplified": "ID|时间|主叫|被叫|通话时长(s)|响铃时长(s)|通话时间(s)|状态|通话类型",
    "Chinese, traditional": "ID|時間|主叫號碼|被叫號碼|通話時長(s)|響鈴時長(s)|通話時間(s)|狀態|通話類型",
}
CELLS = ("20261128035140AB3D1", "2026-11-28 03:51:40", "5550100", "1001", "60", "9", "51", "ANSWERED", "Inbound")


@pytest.mark.parametrize("language", HEADINGS)
def test_headings_of_each_language_of_the_pbx_are_read(language: str) -> None:
    headings = HEADINGS[language].split("|")
    assert CLIENT.recognizes_headings(headings)
    (leg,) = read([dict(zip(headings, CELLS, strict=True))])
    assert isinstance(leg, CallDetails)
    assert (leg.uid, leg.time_start, leg.call_from, leg.call_to) == CELLS[:4]
    assert (leg.call_duration, leg.talk_duration, leg.extra) == (60, 51, {"ring_duration": "9"})
    assert (leg.status, leg.type) == ("ANSWERED", "Inbound")


def test_heading_has_one_meaning() -> None:
    """Whatever its language: the table is read from both ends."""
    meanings: dict[str, set[str]] = {}
    for name, headings in HEADINGS_BY_NAME.items():
        for heading in headings:
            meanings.setdefault(fold_heading(heading), set()).add(name)
    assert {heading: names for heading, names in meanings.items() if len(names) > 1} == {}


ROUNDED = "could not parse the raw event: a spreadsheet rounded the ids: download the file again"


@pytest.mark.parametrize(
    "uid",
    [
        *("2.02611E+18", "2.02611280351401E+018", "2,02611E+18", "2.02611280351401e18", "2E+18"),
        *("2.026.112.803.514.010.000", "2,026,112,803,514,010,000", "2 026 112 803 514 010 000"),
        *("2026112803514010000", "2026112803514010000.00", "2026112803514010000,0"),
    ],
)
def test_id_that_a_spreadsheet_changed_is_refused_by_name(uid: str) -> None:
    """Also in a file with a call id, in whatever form that is."""
    assert read([page_row(uid)]) == [ROUNDED]
    for call_id in ("1795837895.1", "1.7958E+09", "1795837896", "1,795,837,895.1"):
        assert read([own_row(call_id, uid)]) == [ROUNDED]


@pytest.mark.parametrize("call_id", ["1.7958E+09", "1,7958E+09", "1.795.837.895,1"])
def test_call_id_in_changed_form_is_refused_without_any_other_sign(call_id: str) -> None:
    """As in a file that was imported before its lines were looked at together."""
    assert read([own_row(call_id, "20261128035140AB3D1")]) == [ROUNDED]
    body = json.dumps({"type": "row", "sn": SN, "call_id": "", "row": own_row(call_id, "20261128035140AB3D1")})
    with pytest.raises(ParseError, match="a spreadsheet rounded the ids"):
        YEASTAR.parse(body.replace('": ', '":').encode())


def test_ids_that_are_texts_in_a_rounded_file_are_read() -> None:
    """A spreadsheet changes numbers alone."""
    rows = [page_row("2026112803514010000"), page_row("20261128035140AB3D1"), page_row("2026112803514112E45")]
    assert call_ids(read(rows)) == ["", "20261128035140AB3D1", "2026112803514112E45"]


def test_call_id_in_a_rounded_file_is_that_of_the_stored_call() -> None:
    """By a `uid` that is unchanged; without one it is refused, because zeros at its end are lost."""
    rows = [own_row("1795837895.1", "20261128035140AB3D1"), own_row("1795837900.3", "2026112803514510000")]
    assert call_ids(read(rows, {"20261128035140AB3D1": "1795837895.10"})) == ["1795837895.10", ""]
    assert read(rows) == [ROUNDED, ROUNDED]


def test_id_that_ends_in_zeros_in_a_file_with_others_is_read() -> None:
    """A spreadsheet would have rounded all of them."""
    rows = [page_row("2026112803514010000"), page_row("2026112803514112345")]
    assert call_ids(read(rows)) == ["2026112803514010000", "2026112803514112345"]
    rows = [own_row("1795837895.1", "2026112803514010000"), own_row("1795837896.2", "2026112803514112345")]
    assert call_ids(read(rows)) == ["1795837895.1", "1795837896.2"]


def test_ids_that_all_end_in_zeros_are_refused_though_less_was_rounded() -> None:
    """Other programs keep 16 or 17 digits."""
    rows = [page_row("2026112803514012300"), page_row("2026112803524067800", "2026-11-28 03:52:40")]
    assert read(rows) == [ROUNDED, ROUNDED]
    assert call_ids(read(rows[:1])) == ["2026112803514012300"]


def test_rounded_line_is_another_event_than_the_same_line_of_a_good_file() -> None:
    """Else the good file would be a repeat, and the line stay in the quarantine."""
    row = own_row("1795837895.12", "20261128035140AB3D1")
    bad_survey = CLIENT.survey_file([row, own_row("1.7958E+09", "2.02611E+18")])
    keys = [
        YEASTAR.peek(CLIENT.format_file_row(SN, row, "", "", survey=survey)).key
        for survey in (bad_survey, CLIENT.survey_file([row]), FileSurvey())
    ]
    assert keys[0] != keys[1] == keys[2]


CUT = "28/11/2026 03:51"
UID = "20261128035140AB3D1"


@pytest.mark.parametrize(
    "time", [CUT, "11/28/2026 03:51", "2026-11-28 3:51", "11/28/2026 3:51 AM", "28.11.2026 3:51 am"]
)
def test_time_without_seconds_of_the_only_leg_is_that_of_the_id(time: str) -> None:
    (leg,) = read([page_row(UID, time)])
    assert isinstance(leg, CallDetails)
    assert leg.time_start == "2026-11-28 03:51:40"


def test_time_without_seconds_of_several_legs_in_the_minute_is_refused() -> None:
    """All legs share the `uid`, which has the second of the first one."""
    rows = [page_row(UID, CUT, Call_To="Support<6400>"), page_row(UID, CUT), page_row(UID, "28/11/2026 03:52")]
    assert all("has no seconds, and its leg is not certain" in str(reason) for reason in read(rows))


def test_time_without_seconds_of_the_first_leg_is_that_of_the_id_beside_later_minutes() -> None:
    rows = [page_row(UID, CUT, Call_To="Support<6400>"), page_row(UID, "28/11/2026 03:52")]
    leg, reason = read(rows)
    assert isinstance(leg, CallDetails)
    assert (leg.time_start, leg.call_to) == ("2026-11-28 03:51:40", "Support<6400>")
    assert "has no seconds" in str(reason)


STORED = (
    StoredLeg("6400", "2026-11-28 03:51:40"),
    StoredLeg("1001", "2026-11-28 03:51:45"),
    StoredLeg("1001", "2026-11-28 03:52:10"),
)


def test_time_without_seconds_is_that_of_the_stored_leg() -> None:
    """By its number and minute."""
    rows = [page_row(UID, CUT, Call_To="Support<6400>"), page_row(UID, CUT), page_row(UID, "28/11/2026 03:52")]
    starts = [leg.time_start for leg in read(rows, {UID: "1.1"}, STORED) if isinstance(leg, CallDetails)]
    assert starts == ["2026-11-28 03:51:40", "2026-11-28 03:51:45", "2026-11-28 03:52:10"]


@pytest.mark.parametrize(
    "legs",
    [STORED[:1], (*STORED, StoredLeg("1001", "2026-11-28 03:51:50"))],
    ids=["another leg began with the call", "two legs in the minute"],
)
def test_time_without_seconds_that_no_single_stored_leg_has_is_refused(legs: tuple[StoredLeg, ...]) -> None:
    (reason,) = read([page_row(UID, CUT)], {UID: "1.1"}, legs)
    assert "its leg is not certain" in str(reason)


def test_time_without_seconds_has_those_of_the_timestamp() -> None:
    """A column of the web API's file: its seconds are the same in every zone."""
    rows = [page_row(UID, CUT) | {"timestamp": "1795834305"}, page_row(UID, CUT) | {"timestamp": "1695834305"}]
    leg, reason = read(rows)
    assert isinstance(leg, CallDetails)
    assert leg.time_start == "2026-11-28 03:51:45"
    assert "its leg is not certain" in str(reason)


def test_call_id_beside_a_time_without_seconds_is_that_of_the_stored_call() -> None:
    """A spreadsheet has saved the file, so that the call id may have lost its zeros."""
    row = own_row("1795837895.1", UID, CUT)
    assert call_ids(read([row], {UID: "1795837895.10"})) == ["1795837895.10"]
    assert read([row]) == [ROUNDED]


@pytest.mark.parametrize("duration", ["soon", "37.9", "0.000428", "12:00 AM", "1,234"])
def test_duration_of_a_file_that_cannot_be_read_is_an_unreadable_line(duration: str) -> None:
    (reason,) = read([page_row(UID) | {"Call Duration(s)": duration}])
    assert reason == f"could not parse the raw event: unknown form of call_duration: {duration!r}"


def test_duration_of_own_export_that_was_kept_beside_is_no_error() -> None:
    """It was unreadable in the event, which is a call."""
    (leg,) = read([own_row("1795837895.12", UID) | {"extra": '{"call_duration":"soon"}'}])
    assert isinstance(leg, CallDetails)
    assert (leg.call_duration, leg.extra) == (None, {"call_duration": "soon"})


def test_duration_in_another_form_is_read() -> None:
    (leg,) = read([page_row(UID) | {"Call Duration(s)": "37s", "Talk Duration(s)": "12:00:30 AM"}])
    assert isinstance(leg, CallDetails)
    assert (leg.call_duration, leg.talk_duration) == (37, 30)
