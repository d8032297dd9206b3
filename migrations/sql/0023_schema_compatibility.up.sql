-- The oldest build that this schema serves, as the newest step that a build must know. `migrate`
-- sets it; replicas whose build knows the step go on serving when later steps are applied.
CREATE TABLE schema_compatibility (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    oldest_step text NOT NULL
);
GRANT SELECT ON schema_compatibility TO orchid_fleet;
