{#-
    The records of the accepted segments that a condition on `raw.segments` chooses, as `records`
    and `segments`; a condition on the records can follow.
-#}
{% macro segment_rows_sql(condition) -%}
    select
        records.payload,
        records.natural_key,
        records.content_hash,
        records.rejection_reason,
        records.rejection_detail,
        records.unreadable_fields,
        records.source_file,
        coalesce(records.line_number, records.file_row_number + 1) as line_number,
        records.received_at,
        records.loaded_at,
        records.commerce_token,
        records.health_token,
        records.driver_token,
        records.visitor_token,
        records.account_token,
        records.trip_account_token,
        segments.segment,
        segments.source,
        segments.entity,
        segments.accepted_at
    from {{ accepted_records(condition) }}
{%- endmacro %}
