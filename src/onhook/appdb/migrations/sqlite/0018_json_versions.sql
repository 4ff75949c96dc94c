-- JSON columns get the version of their form. A text that is not JSON stays as it is, and disables its row.
UPDATE pbxs SET number_plan = json_object('version', 1, 'value', json(number_plan)) WHERE json_valid(number_plan);
UPDATE tokens SET scope = json_object('version', 1, 'value', json(scope)) WHERE json_valid(scope);
UPDATE users SET scope = json_object('version', 1, 'value', json(scope)) WHERE json_valid(scope);
UPDATE streams SET filter = json_object('version', 1, 'value', json(filter)) WHERE json_valid(filter);
UPDATE apps SET pbxs = json_object('version', 1, 'value', json(pbxs)) WHERE json_valid(pbxs);
UPDATE apps SET networks = json_object('version', 1, 'value', json(networks)) WHERE json_valid(networks);
UPDATE apps SET behaviour = json_object('version', 1, 'value', json(behaviour)) WHERE json_valid(behaviour);
UPDATE sync_state SET intervals = json_object('version', 1, 'value', json(intervals)) WHERE json_valid(intervals);
UPDATE sync_state SET pbx_status = json_object('version', 1, 'value', json(pbx_status)) WHERE json_valid(pbx_status);
UPDATE sync_state SET progress = json_object('version', 1, 'value', json(progress)) WHERE json_valid(progress);
UPDATE sync_state SET request = json_object('version', 1, 'value', json(request)) WHERE json_valid(request);
UPDATE sync_state SET result = json_object('version', 1, 'value', json(result)) WHERE json_valid(result);
UPDATE pbx_credentials SET tokens = json_object('version', 1, 'value', json(tokens)) WHERE json_valid(tokens);
UPDATE asterisks SET detected_config = json_object('version', 1, 'value', json(detected_config))
    WHERE json_valid(detected_config);
