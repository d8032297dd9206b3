DROP TABLE cursors;
