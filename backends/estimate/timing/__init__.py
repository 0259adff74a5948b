"""Static timing over delay tables, and cell sizes that meet a clock."""
