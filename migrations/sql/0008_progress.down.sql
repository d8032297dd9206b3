DROP TABLE request_log;
DROP TABLE announcements;
DROP TABLE plan_contexts;
DROP TABLE checkpoints;
