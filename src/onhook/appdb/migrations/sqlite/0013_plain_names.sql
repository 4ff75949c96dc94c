-- Tables, columns, states and JSON members get the names of the glossary. A text that is not JSON stays as it is.
ALTER TABLE pbxs RENAME COLUMN plan TO number_plan;
ALTER TABLE tokens RENAME COLUMN limits TO scope;
ALTER TABLE tokens RENAME COLUMN last_used TO last_used_at;
ALTER TABLE subscriptions RENAME TO destinations;
ALTER TABLE destinations RENAME COLUMN subscription_id TO destination_id;
ALTER TABLE destinations RENAME COLUMN wishes TO spec;
ALTER TABLE destinations RENAME COLUMN not_before TO retry_after;
ALTER TABLE destinations RENAME COLUMN delivered TO attempts_succeeded;
ALTER TABLE destinations RENAME COLUMN failed TO attempts_failed;
UPDATE destinations SET spec = json_remove(json_set(spec,
    '$.notifies_of', CASE WHEN json_extract(spec, '$.about') = 'alarms' THEN 'alarms'
                          WHEN json_extract(spec, '$.per') = 'call' THEN 'calls' ELSE 'records' END,
    '$.version', 1,
    '$.kind', coalesce(json_extract(spec, '$.sink'), 'webhook'),
    '$.filter', json(coalesce(json_extract(spec, '$.where'), '{}')),
    '$.payload_format', coalesce(json_extract(spec, '$.profile'), 'p-2026'),
    '$.retry_policy', coalesce(json_extract(spec, '$.plan'), 'days'),
    '$.max_attempts', coalesce(json_extract(spec, '$.tries'), 3),
    '$.allow_private', json(CASE json_extract(spec, '$.allows_private') WHEN 1 THEN 'true' ELSE 'false' END)),
    '$.about', '$.per', '$.sink', '$.where', '$.profile', '$.plan', '$.tries', '$.allows_private')
    WHERE json_valid(spec);
ALTER TABLE signing_secrets RENAME COLUMN subscription_id TO destination_id;
ALTER TABLE streams RENAME COLUMN subscription_id TO destination_id;
DROP INDEX streams_by_subscription;
CREATE INDEX streams_by_destination ON streams (destination_id);
ALTER TABLE deliveries RENAME COLUMN subscription_id TO destination_id;
ALTER TABLE deliveries RENAME COLUMN event_id TO notification_id;
ALTER TABLE deliveries RENAME COLUMN owed_at TO pending_since;
ALTER TABLE deliveries RENAME COLUMN busy TO busy_count;
UPDATE deliveries SET state = CASE state WHEN 'waiting' THEN 'retrying' ELSE 'failed' END WHERE state IN ('waiting', 'parked');
ALTER TABLE attempts RENAME COLUMN at TO attempted_at;
ALTER TABLE attempts RENAME COLUMN milliseconds TO duration_ms;
ALTER TABLE attempts RENAME COLUMN said TO detail;
ALTER TABLE apps RENAME COLUMN manner TO behaviour;
ALTER TABLE apps RENAME COLUMN last_used TO last_used_at;
UPDATE apps SET behaviour = json_remove(json_set(behaviour,
    '$.payload_format', coalesce(json_extract(behaviour, '$.profile'), 'p-2026')), '$.profile')
    WHERE json_valid(behaviour);
ALTER TABLE blocked RENAME TO blocked_addresses;
ALTER TABLE places RENAME TO source_matches;
ALTER TABLE apis RENAME TO pbx_credentials;
ALTER TABLE receiving RENAME TO sync_state;
ALTER TABLE sync_state RENAME COLUMN stretches TO intervals;
ALTER TABLE sync_state RENAME COLUMN contact TO pbx_status;
ALTER TABLE sync_state RENAME COLUMN wish TO request;
ALTER TABLE sync_state RENAME COLUMN outcome TO result;
ALTER TABLE alarms RENAME COLUMN what TO detail;
ALTER TABLE alarms RENAME COLUMN todo TO hint;
ALTER TABLE alarms RENAME COLUMN seen_at TO last_seen_at;
ALTER TABLE alarms RENAME COLUMN times TO occurrences;
DROP INDEX alarms_going_on;
CREATE UNIQUE INDEX alarms_open ON alarms (sn, kind) WHERE ended_at IS NULL;
ALTER TABLE people RENAME TO users;
ALTER TABLE users RENAME COLUMN limits TO scope;
ALTER TABLE users RENAME COLUMN stamp TO password_version;
ALTER TABLE users RENAME COLUMN last_seen TO last_seen_at;
ALTER TABLE audit RENAME COLUMN at TO created_at;
ALTER TABLE audit RENAME COLUMN who TO actor;
ALTER TABLE audit RENAME COLUMN by TO credential;
ALTER TABLE audit RENAME COLUMN what TO action;
ALTER TABLE notes RENAME COLUMN who TO author;
ALTER TABLE notes RENAME COLUMN at TO created_at;
ALTER TABLE searches RENAME TO saved_searches;
ALTER TABLE saved_searches RENAME COLUMN who TO author;
ALTER TABLE asterisks RENAME COLUMN learned TO detected_config;
ALTER TABLE asterisks RENAME COLUMN trouble TO error;
ALTER TABLE keeping RENAME TO retention_overrides;
ALTER TABLE sources RENAME TO cdr_sources;
ALTER TABLE cdr_sources RENAME COLUMN place TO location;
UPDATE sync_state SET intervals = (SELECT json_group_array(json_object('since', json_extract(value, '$.since'),
    'until', json_extract(value, '$.until'),
    'state', CASE json_extract(value, '$.state') WHEN 'heard' THEN 'connected' ELSE json_extract(value, '$.state') END,
    'reason', json_extract(value, '$.why'))) FROM (SELECT value FROM json_each(sync_state.intervals) ORDER BY key))
    WHERE json_valid(intervals);
UPDATE sync_state SET pbx_status = json_remove(json_set(pbx_status, '$.checked_at', json_extract(pbx_status, '$.at')), '$.at')
    WHERE json_valid(pbx_status);
UPDATE sync_state SET progress = json_remove(json_set(progress, '$.started_at', json_extract(progress, '$.asked_at'),
    '$.requested_since', json_extract(progress, '$.from_us'), '$.requested_until', json_extract(progress, '$.to_us')),
    '$.asked_at', '$.from_us', '$.to_us') WHERE json_valid(progress);
UPDATE sync_state SET request = json_remove(json_set(request, '$.requested_at', json_extract(request, '$.asked_at')),
    '$.asked_at') WHERE json_valid(request);
UPDATE sync_state SET result = json_remove(json_set(result, '$.requested_at', json_extract(result, '$.asked_at'),
    '$.incomplete_reason', json_extract(result, '$.trouble')), '$.asked_at', '$.trouble') WHERE json_valid(result);
UPDATE streams SET filter = json_remove(filter, '$.aspects', '$.within') WHERE json_valid(filter);
UPDATE destinations SET spec = json_remove(spec, '$.filter.aspects', '$.filter.within') WHERE json_valid(spec);
-- The text between `"` and `":` is a member's name: inside a text of JSON the quotes are escaped.
UPDATE pbx_credentials SET tokens = replace(replace(replace(replace(replace(tokens,
    '"current":', '"current_token":'), '"old":', '"replaced_tokens":'), '"unknown":', '"unconfirmed_until":'),
    '"refusals":', '"refused_logins":'), '"halted":', '"halt_reason":');
UPDATE pbx_credentials SET tokens = replace(replace(replace(replace(replace(tokens,
    '"trouble":', '"error":'), '"given_at":', '"issued_at":'), '"until":', '"expires_at":'),
    '"refresh":', '"refresh_token":'), '"refresh_until":', '"refresh_expires_at":');
UPDATE asterisks SET detected_config = replace(detected_config, '"inbound":', '"inbound_contexts":');
UPDATE saved_searches SET path = replace(replace(path, '?of=', '?report='), '&of=', '&report=')
    WHERE path LIKE '/reports?%';
-- Of the parameter `columns` two names have changed; it reaches from `start` to the next parameter.
UPDATE saved_searches SET path = head || trim(replace(replace(
    ',' || replace(replace(names, '%2C', ','), '%2c', ',') || ',', ',by,', ',answered_by,'), ',whole,', ',duration,'), ',')
    || tail
    FROM (SELECT search_id AS id, substr(path, 1, start - 1) AS head, substr(path, start, length) AS names,
        substr(path, start + length) AS tail
        FROM (SELECT search_id, path, start, instr(substr(path, start) || '&', '&') - 1 AS length
            FROM (SELECT search_id, path, instr(replace(path, '?', '&'), '&columns=') + 9 AS start
                FROM saved_searches WHERE path LIKE '/calls?%' AND replace(path, '?', '&') LIKE '%&columns=%')))
    WHERE search_id = id;
