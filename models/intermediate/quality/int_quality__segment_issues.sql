-- one row per accepted segment and kind of issue in it, and one per segment without any (its reason
-- is null), so that no segment is read twice; segments that were compacted or erased leave it
{{ config(
    materialized='incremental',
    unique_key='segment',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where segment not in (
        select segment from {{ ref('stg_raw__segments') }}
    )"
) }}

with segments as (
    select *
    from {{ ref('stg_raw__segments') }}
    {% if is_incremental() -%}
    where {{ newly_listed(this) }}
    {%- endif %}
),

rejected_records as (
    select *
    from {{ ref('stg_raw__rejected_records') }}
    {% if is_incremental() -%}
    where {{ newly_listed(this) }}
    {%- endif %}
),

unreadable_fields as (
    select *
    from {{ ref('stg_raw__unreadable_fields') }}
    {% if is_incremental() -%}
    where {{ newly_listed(this) }}
    {%- endif %}
),

issues as (
    select
        segment,
        rejection_reason as reason,
        rejection_detail as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from rejected_records
    group by segment, rejection_reason, rejection_detail
    union all
    select
        segment,
        'unreadable_field' as reason,
        unreadable_fields || ': could not be read and counts as absent' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from unreadable_fields
    group by segment, unreadable_fields
),

segment_issues as (
    select
        segments.segment,
        segments.source,
        segments.entity,
        issues.reason,
        issues.detail,
        coalesce(issues.records, 0) as records,
        issues.newest_received_at,
        segments.accepted_at
    from segments
    left join issues on segments.segment = issues.segment
)

select *
from segment_issues
