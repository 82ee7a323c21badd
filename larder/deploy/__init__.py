"""Set up Snowflake from `deploy/snowflake/`, and stage what the Python models import there."""
