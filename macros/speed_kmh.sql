{#-
    The mean speed between two positions in km/h; null where there is no other one.

    place, other: prefixes of the columns latitude, longitude and occurred_at.
    Less than a second counts as one: there the error of a fix would be all of the speed.
-#}
{% macro speed_kmh(place, other) -%}
    3.6 * ({{ haversine_metres(
        place ~ 'latitude', place ~ 'longitude', other ~ 'latitude', other ~ 'longitude'
    ) }})
    / case
        when {{ dbt.datediff(place ~ 'occurred_at', other ~ 'occurred_at', 'millisecond') }} > 1000
            then {{ dbt.datediff(place ~ 'occurred_at', other ~ 'occurred_at', 'millisecond') }}
                / 1000.0
        else 1
    end
{%- endmacro %}
