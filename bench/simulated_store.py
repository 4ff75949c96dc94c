"""A store full of made-up calls, made by the database itself: two years of an office with 500 extensions.

About 1.7 legs per call, three PBXs, five trunks, ids as PBXs make them, recordings and notes on 40 % of the calls.
"""

from pathlib import Path

import duckdb

from onhook.store.queries.weekly import WEEK_SECONDS
from onhook.store.schema import CALLS, LEGS

FIRST_SECOND = 1_704_067_200  # 2024-01-01
SECONDS = 2 * 365 * 86_400
LEGS_PER_CALL = 1.7
CALLS_PER_STEP = 500_000
"""Made at once, to stay within the memory of a small machine."""

EXTENSION = "1042"
RARE_PBX = "PBX-C"

_LINE = "('1' || right(regexp_replace({}, '[^0-9]', '', 'g'), 8))::INTEGER"

_CALLS = f"""
SELECT n, {FIRST_SECOND} + (n * {SECONDS}) // $calls AS epoch, hash(n) AS h, hash(n + 1000000007) AS g,
  epoch || '.' || (n % 100000) AS call_id,
  [{{'sn': '3691', 'pbx': 'PBX-A'}}, {{'sn': '3692', 'pbx': 'PBX-B'}}, {{'sn': '3693', 'pbx': 'PBX-C'}}][
    CASE WHEN h % 100 < 60 THEN 1 WHEN h % 100 < 99 THEN 2 ELSE 3 END] AS pbx,
  CASE WHEN h // 100 % 10 < 4 THEN 'Inbound' WHEN h // 100 % 10 < 7 THEN 'Outbound' ELSE 'Internal' END AS type,
  CASE WHEN h // 1000 % 100 < 45 THEN 1 WHEN h // 1000 % 100 < 85 THEN 2 ELSE 3 END AS legs,
  (1000 + g % 500)::VARCHAR AS extension, '+49' || (30000000 + g // 500 % 2000000) AS outside,
  ['ANSWERED', 'NO ANSWER', 'BUSY', 'VOICEMAIL', 'FAILED'][
    CASE WHEN h // 100000 % 100 < 60 THEN 1 WHEN h // 100000 % 100 < 80 THEN 2 WHEN h // 100000 % 100 < 92 THEN 3
      WHEN h // 100000 % 100 < 98 THEN 4 ELSE 5 END] AS status,
  (h // 10000000 % 40)::BIGINT AS ring,
  CASE WHEN status = 'ANSWERED' THEN (g // 1000000 % 600)::BIGINT ELSE 0 END AS talk,
  g // 1000 % 10 < 4 AS is_recorded, 'trunk-' || (g % 5) AS trunk,
  strftime(make_timestamp((epoch + 7200) * 1000000), '%Y%m%d%H%M%S') AS stamp
FROM range($since, $until) AS numbers(n)
"""

_LEGS = f"""
INSERT INTO legs ({", ".join(LEGS)}, is_odd)
SELECT epoch, pbx.sn, call_id, place, epoch, epoch + place * 7, 120, NULL,
  CASE type WHEN 'Inbound' THEN outside WHEN 'Internal' THEN (1000 + g // 500 % 500)::VARCHAR ELSE extension END
    AS from_number, NULL,
  CASE WHEN place = legs - 1 THEN CASE type WHEN 'Outbound' THEN outside ELSE extension END
    WHEN place = 0 AND legs = 3 THEN '6200' ELSE '6400' END AS to_number, NULL,
  {_LINE.format("from_number")}, {_LINE.format("to_number")},
  ring + talk, talk, CASE type WHEN 'Inbound' THEN trunk ELSE '' END, CASE type WHEN 'Outbound' THEN trunk ELSE '' END,
  '', status, replace(status, ' ', ''), type, upper(type),
  CASE WHEN is_recorded THEN stamp || '-' || call_id || '-' || outside || '-' || extension || '-' || type || '.wav'
    ELSE '' END,
  CASE type WHEN 'Inbound' THEN '+4930555' || (g % 20) ELSE '' END,
  CASE type WHEN 'Inbound' THEN 'Line ' || (g % 20) ELSE '' END, 0,
  stamp || upper(lpad(to_hex(h % 1048576), 5, '0')),
  CASE WHEN is_recorded THEN stamp || '-' || upper(lpad(to_hex(g % 1048576), 5, '0')) ELSE '' END,
  is_recorded::INTEGER, '{{"is_display":1,"realclidnum":""}}', pbx.pbx, 'ids', 'webhook',
  (epoch + ring + talk) * 1000000 + (h % 1000000)::BIGINT, n * 2 + place, false
FROM (SELECT *, unnest(range(legs)) AS place FROM ({_CALLS})) ORDER BY n, place
"""

_AS_CALLS = f"""
INSERT INTO calls ({", ".join(CALLS)})
SELECT epoch, pbx.sn, call_id, pbx.pbx, epoch, epoch + ring + talk + (legs - 1) * 7,
  type, upper(type), status, replace(status, ' ', ''),
  CASE type WHEN 'Inbound' THEN outside WHEN 'Internal' THEN (1000 + g // 500 % 500)::VARCHAR ELSE extension END
    AS from_number,
  CASE WHEN legs = 3 THEN '6200' WHEN legs = 2 THEN '6400' WHEN type = 'Outbound' THEN outside ELSE extension END
    AS to_number,
  {_LINE.format("from_number")}, {_LINE.format("to_number")},
  CASE WHEN status = 'ANSWERED' THEN extension ELSE '' END, ring, ring, talk, ring + talk + (legs - 1) * 7,
  CASE type WHEN 'Inbound' THEN '+4930555' || (g % 20) ELSE '' END,
  CASE type WHEN 'Inbound' THEN trunk ELSE '' END, CASE type WHEN 'Outbound' THEN trunk ELSE '' END
FROM ({_CALLS}) ORDER BY n
"""


def fill(path: Path, records: int) -> int:
    """Put about so many records into an empty store that nobody has open; returns how many it has."""
    calls = max(1, int(records / LEGS_PER_CALL))
    with duckdb.connect(str(path), config={"memory_limit": "1GiB"}) as connection:
        for since in range(0, calls, CALLS_PER_STEP):
            values = {"since": since, "until": min(since + CALLS_PER_STEP, calls), "calls": calls}
            connection.execute(_LEGS, values)
            connection.execute(_AS_CALLS, values)
        connection.execute(f"INSERT INTO weeks SELECT DISTINCT started_at // {WEEK_SECONDS}, false FROM calls")
        # Behind its position nothing is read on.
        connection.execute("UPDATE about SET position = (SELECT max(seq) FROM legs)")
        connection.execute("CHECKPOINT")
        return int(connection.execute("SELECT count(*) FROM legs").fetchall()[0][0])
