-- The active generators with their weights, as one JSON object: a fragment of change/weights_record.
-- Parameters: none.
-- Columns: one, without a name.
(SELECT jsonb_object_agg(g.{weights_name}::text, g.{weights_weight}) FROM {weights} g
  WHERE {weights_status} = 'active' AND g.{weights_name} IS NOT NULL)
