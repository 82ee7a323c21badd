{#-
    What it costs to have so many units where so many are wanted, in US dollars.

    available, demand: expressions in units. Needs the columns underage_usd (of a unit missed) and
    overage_usd (of a unit too many).
-#}
{% macro newsvendor_cost(available, demand) -%}
    (
        underage_usd * greatest({{ demand }} - ({{ available }}), 0)
        + overage_usd * greatest({{ available }} - {{ demand }}, 0)
    )
{%- endmacro %}
