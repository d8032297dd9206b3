-- Schedules by cron, instead of waiting from run to run.
ALTER TABLE plans
    -- 5 fields, or 6 with seconds first; null: it waits. Beside it wait_seconds means nothing.
    ADD COLUMN cron           text,
    -- IANA name of the zone whose clock the cron text goes by.
    ADD COLUMN timezone       text,
    -- Each config is due at an offset of its own below this.
    ADD COLUMN spread_seconds integer,
    -- What becomes of the times that were missed while nothing ran.
    ADD COLUMN catch_up       text NOT NULL DEFAULT 'run_once';
ALTER TABLE plans ADD CONSTRAINT plans_catch_up_check CHECK (catch_up IN ('run_once', 'skip', 'run_each'));
ALTER TABLE plans ADD CONSTRAINT plans_spread_seconds_check CHECK (spread_seconds >= 0);

ALTER TABLE schedules
    -- By cron: every time up to this one had its run, or was dropped.
    ADD COLUMN decided_until timestamptz,
    -- By cron: later times up to this one get their runs however late, one after the other.
    ADD COLUMN owed_until    timestamptz;
