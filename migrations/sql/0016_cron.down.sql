ALTER TABLE schedules DROP COLUMN owed_until;
ALTER TABLE schedules DROP COLUMN decided_until;
ALTER TABLE plans DROP CONSTRAINT plans_spread_seconds_check;
ALTER TABLE plans DROP CONSTRAINT plans_catch_up_check;
ALTER TABLE plans DROP COLUMN catch_up;
ALTER TABLE plans DROP COLUMN spread_seconds;
ALTER TABLE plans DROP COLUMN timezone;
ALTER TABLE plans DROP COLUMN cron;
