{#-
    A text in which the ids of people are their tokens: "round of d17" is "round of <token>", in
    whatever field a sender writes them. An id counts where it stands between blanks, punctuation or
    the ends, so that d1 is not found in d17. loaders/bus/messages.py does the same.

    text: an expression. persons: pairs of columns, an id and its token.
-#}
{% macro pseudonymised(text, persons) -%}
    {%- set read = namespace(as=text) -%}
    {%- set named = [] -%}
    {%- for id, _ in persons -%}
        {#- a case, because DuckDB works both sides of an `and` out -#}
        {%- do named.append('case when contains(' ~ text ~ ', ' ~ id ~ ') then contains('
            ~ words(text) ~ ', ' ~ words(id) ~ ') else false end') -%}
        {#- a mark at first, as a token may hold the next id -#}
        {%- set read.as -%}
            replace(
                {{ read.as }},
                case when {{ named[-1] }} then {{ id }} else chr({{ loop.index }}) end,
                chr({{ loop.index }})
            )
        {%- endset -%}
    {%- endfor -%}
    {%- for _, token in persons -%}
        {%- set read.as -%}
            replace(
                {{ read.as }},
                chr({{ loop.index }}),
                case
                    when {{ named[loop.index0] }} then coalesce({{ token }}, '-')
                    else chr({{ loop.index }})
                end
            )
        {%- endset -%}
    {%- endfor -%}
    {{ read.as }}
{%- endmacro %}
