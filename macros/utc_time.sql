{#-
    The instant (UTC, without zone) at which the clock on the wall of a time zone shows a time.

    wall_time: an expression. time_zone: an expression with an IANA name.
-#}
{% macro utc_time(wall_time, time_zone) -%}
    {{ return(adapter.dispatch('utc_time')(wall_time, time_zone)) }}
{%- endmacro %}

{% macro default__utc_time(wall_time, time_zone) -%}
    timezone('UTC', timezone({{ time_zone }}, {{ wall_time }}))
{%- endmacro %}

{% macro snowflake__utc_time(wall_time, time_zone) -%}
    convert_timezone({{ time_zone }}, 'UTC', {{ wall_time }})
{%- endmacro %}
