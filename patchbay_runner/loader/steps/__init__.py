"""From the table of one step to the record of one step; a file for each family of actions."""
