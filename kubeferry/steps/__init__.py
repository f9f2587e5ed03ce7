"""What an action does, as plain functions: a function takes the seams and the journal and appends what it saw."""
