-- The tables go with their own steps, distributed or not.
SELECT 1;
