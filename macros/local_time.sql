{#-
    An instant (UTC, without zone) as the clock on the wall of a time zone shows it.

    instant: an expression. time_zone: an expression with an IANA name.
-#}
{% macro local_time(instant, time_zone) -%}
    {{ return(adapter.dispatch('local_time')(instant, time_zone)) }}
{%- endmacro %}

{% macro default__local_time(instant, time_zone) -%}
    timezone({{ time_zone }}, timezone('UTC', {{ instant }}))
{%- endmacro %}

{% macro snowflake__local_time(instant, time_zone) -%}
    convert_timezone('UTC', {{ time_zone }}, {{ instant }})
{%- endmacro %}
