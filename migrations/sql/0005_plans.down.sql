DROP TABLE schedules;
DROP TABLE plan_revisions;
DROP TABLE plans;
