DROP TABLE loop_passes;
DROP TABLE executor_sessions;
DROP TABLE leases;
DROP TABLE ready;
