{#-
    A text in which the ids of people are their tokens: "round of d17" is "round of <token>", in
    whatever field a sender writes them. An id counts where it stands between blanks, punctuation or
    the ends, so that d1 is not found in d17. loaders/bus/messages.py does the same.

    text: an expression. persons: pairs of columns, an id and its token.
-#}
{% macro pseudonymised(text, persons) -%}
    {%- set read = namespace(as=text) -%}
    {%- for id, token in persons -%}
        {%- set is_named -%}
            contains({{ text }}, {{ id }}) and contains({{ words(text) }}, {{ words(id) }})
        {%- endset -%}
        {%- set read.as -%}
            replace(
                {{ read.as }},
                coalesce(case when {{ is_named }} then {{ id }} end, '-'),
                coalesce(case when {{ is_named }} then {{ token }} end, '-')
            )
        {%- endset -%}
    {%- endfor -%}
    {{ read.as }}
{%- endmacro %}
