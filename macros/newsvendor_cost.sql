{#-
    What it costs to have so many units where so many are wanted, in US dollars; null where either is
    unknown.

    available, demand: expressions in units. Needs the columns underage_usd (of a unit missed) and
    overage_usd (of a unit too many). Without greatest(), which passes over nulls on DuckDB only.
-#}
{% macro newsvendor_cost(available, demand) -%}
    case
        when {{ demand }} > {{ available }}
            then underage_usd * ({{ demand }} - ({{ available }}))
        else overage_usd * ({{ available }} - {{ demand }})
    end
{%- endmacro %}
