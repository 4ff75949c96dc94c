ALTER TABLE subscriptions ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN busy INTEGER NOT NULL DEFAULT 0;
DELETE FROM deliveries WHERE state <> 'delivered' AND delivery_id NOT IN
    (SELECT min(delivery_id) FROM deliveries WHERE state <> 'delivered' GROUP BY subscription_id, event_id);
CREATE UNIQUE INDEX deliveries_undelivered ON deliveries (subscription_id, event_id) WHERE state <> 'delivered';
CREATE INDEX deliveries_by_age ON deliveries (subscription_id, state, owed_at);
UPDATE deliveries SET due_at = 4611686018427387904 WHERE state = 'waiting' AND delivery_id NOT IN
    (SELECT min(delivery_id) FROM deliveries WHERE state = 'waiting' GROUP BY subscription_id, sn, call_id);
