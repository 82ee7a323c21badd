{#-
    The distance between two places along a great circle, in metres, by the haversine formula (R. W.
    Sinnott, Virtues of the Haversine, Sky and Telescope 68, 1984), on a sphere with the mean radius
    of the earth (IUGG): at most 0.6 % off the ellipsoid. Null where either place is unknown.

    latitude, longitude, other_latitude, other_longitude: expressions in degrees.
-#}
{% macro haversine_metres(latitude, longitude, other_latitude, other_longitude) -%}
    case
        -- least() passes over nulls on DuckDB only
        when
            {{ latitude }} is not null and {{ other_latitude }} is not null
            and {{ longitude }} is not null and {{ other_longitude }} is not null
            -- rounding must not take the root above 1, where there is no arc
            then 2 * 6371008.8 * asin(least(1.0, sqrt(
                pow(sin(radians({{ other_latitude }} - {{ latitude }}) / 2), 2)
                + cos(radians({{ latitude }})) * cos(radians({{ other_latitude }}))
                * pow(sin(radians({{ other_longitude }} - {{ longitude }}) / 2), 2)
            )))
    end
{%- endmacro %}
