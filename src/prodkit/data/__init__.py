"""What a service keeps: database, unit of work, sagas, pages. Needs the `sql` extra."""
