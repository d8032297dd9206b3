-- The partitions go with their parents.
DROP FUNCTION history_partitions_end();
DROP FUNCTION drop_history_partitions(timestamptz);
DROP FUNCTION make_history_partitions(timestamptz, timestamptz);
