"""Calls through a dialplan whose contexts and extensions are named as those of a FreePBX."""

from tests.pbx.asterisk.scenario_tables import EXTERNAL_CALLER, Scenario, make_call, table

FREEPBX_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "freepbx_ivr",
        make_call("5550060", behaviour="pressing", talk_seconds=4, **EXTERNAL_CALLER),
        table("""
        at|from            |to       |total|talk|status  |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|ivr-1    |2    |2   |ANSWERED|Inbound|trunk-a|   |5550060|0   |
        2 |Outside<5550199>|Bob<1002>|4    |3   |ANSWERED|Inbound|trunk-a|   |5550060|0   |cdr_talk=5
        """),
    ),
    Scenario(
        "freepbx_ring_group",
        make_call("5550062", talk_seconds=3, **EXTERNAL_CALLER),
        table("""
        at|from            |to        |total|talk|status   |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|600       |4    |3   |ANSWERED |Inbound|trunk-a|   |5550062|0   |
        0 |Outside<5550199>|Bob<1002> |4    |3   |ANSWERED |Inbound|trunk-a|   |5550062|0   |
        0 |Outside<5550199>|Dave<1004>|1    |0   |NO ANSWER|Inbound|trunk-a|   |5550062|0   |
        """),
    ),
    Scenario(
        "freepbx_voicemail",
        make_call("5550063", talk_seconds=2, **EXTERNAL_CALLER),
        table("""
        at|from            |to        |total|talk|status   |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|Dave<1004>|4    |2   |VOICEMAIL|Inbound|trunk-a|   |5550063|0   |
        """),
    ),
    Scenario(
        "freepbx_follow_me",
        make_call("5550064", talk_seconds=3, **EXTERNAL_CALLER),
        table("""
        at|from            |to        |total|talk|status   |type    |in     |out    |did    |ring|more
        0 |Outside<5550199>|Dave<1004>|1    |0   |NO ANSWER|Inbound |trunk-a|       |5550064|0   |
        0 |Outside<5550199>|5550123   |4    |3   |ANSWERED |Outbound|trunk-a|trunk-a|5550064|0   |
        """),
    ),
)
