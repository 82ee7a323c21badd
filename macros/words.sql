{#-
    A text with blanks for its punctuation, and one at either end, so that a word can be told from a
    part of one. A backslash and a double quote stand as numbers: literals differ between engines.

    text: an expression.
-#}
{% macro words(text) -%}
    ' ' || translate(
        {{ text }},
        chr(9) || chr(10) || chr(13) || chr(34) || chr(92) || '!#$%&''()*+,-./:;<=>?@[]^_`{|}~',
        '{{ ' ' * 35 }}'
    ) || ' '
{%- endmacro %}
