-- Writes an event for the dashboards.
-- Parameters: $1 text event type; $2 text JSON; $3 text severity; $4 text message.
-- {event_columns}, {event_values}: those of severity, component and message that the table has.
-- Columns: written.
INSERT INTO {events} (event_type, {events_json}{event_columns})
VALUES ($1::text, $2::text::{events_json_type}{event_values})
RETURNING true AS written
