{#- Several columns are never null, asked in one go; the row that it gives says which were. -#}
{% test never_null(model, columns) %}
select
    {%- for column in columns %}
    count(*) - count({{ column }}) as {{ column }}_nulls{{ ',' if not loop.last }}
    {%- endfor %}
from {{ model }}
having
    {%- for column in columns %}
    count({{ column }}) < count(*){{ ' or' if not loop.last }}
    {%- endfor %}
{% endtest %}
