-- one row per location, basket and item: what was taken less what was put back, and one per order
-- line that was picked up where no stock is reported; a net of nothing is no sale
{{ config(
    unique_key='sale_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where quantity = 0"
) }}

-- a look at the versions saves a look at all movements
{% set has_new_versions = is_incremental()
    and last_accepted(ref('int_catalog__item_versions')) > last_accepted(this) -%}
{% set promoted_items = ref('int_catalog__promoted_items') -%}
{% set has_new_promotions = is_incremental()
    and last_accepted(promoted_items) > last_accepted(this) -%}
-- each step imports the movements for itself: DuckDB copies what is used twice
with reporting_locations as (
    select *
    from {{ ref('int_commerce__reporting_locations') }}
),

item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

promoted_times as (
    select *
    from {{ ref('int_catalog__promoted_times') }}
),

{% if has_new_versions or has_new_promotions -%}
-- times in which a price, a cost or a promotion is not what it was
changed_times as (
    select
        item_id,
        valid_from as starts_at,
        valid_to as ends_at,
        accepted_at
    from item_versions
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        item_id,
        starts_at,
        ends_at,
        accepted_at
    from {{ promoted_items }}
    where accepted_at > {{ last_accepted(this) }}
),

repriced as (
    select
        movements.basket_key as part_of,
        movements.item_id,
        changed_times.accepted_at
    from {{ ref('int_stock__movements') }} as movements
    inner join changed_times
        on
            movements.item_id = changed_times.item_id
            and movements.occurred_at >= changed_times.starts_at
            and movements.occurred_at <= changed_times.ends_at
    where movements.kind in ('taken', 'put_back')
    union all
    select
        order_lines.order_line_key as part_of,
        order_lines.item_id,
        changed_times.accepted_at
    from {{ ref('int_commerce__order_lines') }} as order_lines
    inner join changed_times
        on
            order_lines.item_id = changed_times.item_id
            and order_lines.picked_up_at >= changed_times.starts_at
            and order_lines.picked_up_at <= changed_times.ends_at
),
{%- endif %}

{% if is_incremental() -%}
touches as (
    select
        basket_key as part_of,
        item_id,
        accepted_at
    from {{ ref('int_stock__movements') }}
    where kind in ('taken', 'put_back') and accepted_at > {{ last_accepted(this) }}
    union all
    select
        order_line_key as part_of,
        item_id,
        accepted_at
    from {{ ref('int_commerce__order_lines') }}
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        order_lines.order_line_key as part_of,
        order_lines.item_id,
        reporting_locations.changed_at as accepted_at
    from {{ ref('int_commerce__order_lines') }} as order_lines
    inner join reporting_locations on order_lines.location_id = reporting_locations.location_id
    where reporting_locations.changed_at > {{ last_accepted(this) }}
    {% if has_new_versions or has_new_promotions -%}
    union all
    select
        part_of,
        item_id,
        accepted_at
    from repriced
    {%- endif %}
),

touched as (
    select
        part_of,
        item_id,
        max(accepted_at) as accepted_at
    from touches
    group by part_of, item_id
),
{%- endif %}

-- order lines of a place that reports stock are seen a second time as what was taken there
parts as (
    select
        'stock' as part_source,
        movements.basket_key as part_of,
        cast(null as varchar) as order_id,
        movements.location_id,
        movements.item_id,
        movements.customer_key,
        'fridge' as channel,
        case
            when not movements.is_current or movements.kind = 'put_back' then 0
            else movements.quantity
        end as taken_units,
        case
            when movements.is_current and movements.kind = 'put_back' then movements.quantity
            else 0
        end as returned_units,
        movements.unit_price_usd,
        movements.is_promoted,
        movements.is_current,
        movements.stock_date as sale_date,
        movements.occurred_at as sold_at,
        {% if is_incremental() -%}
        greatest(movements.accepted_at, touched.accepted_at) as accepted_at
        {%- else -%}
        movements.accepted_at
        {%- endif %}
    from {{ ref('int_stock__movements') }} as movements
    {% if is_incremental() -%}
    inner join touched
        on movements.basket_key = touched.part_of and movements.item_id = touched.item_id
    {%- endif %}
    where movements.kind in ('taken', 'put_back')
    union all
    select
        'order' as part_source,
        order_lines.order_line_key as part_of,
        order_lines.order_id,
        order_lines.location_id,
        order_lines.item_id,
        order_lines.customer_key,
        coalesce(order_lines.channel, 'unknown') as channel,
        case
            when
                order_lines.status = 'picked_up'
                and not order_lines.is_deleted
                and not reporting_locations.has_stock_events
                then order_lines.quantity
            else 0
        end as taken_units,
        0 as returned_units,
        order_lines.unit_price_usd,
        cast(null as boolean) as is_promoted,
        true as is_current,
        coalesce(order_lines.picked_up_date, order_lines.order_date) as sale_date,
        coalesce(order_lines.picked_up_at, order_lines.ordered_at) as sold_at,
        {% if is_incremental() -%}
        greatest(order_lines.accepted_at, touched.accepted_at) as accepted_at
        {%- else -%}
        order_lines.accepted_at
        {%- endif %}
    from {{ ref('int_commerce__order_lines') }} as order_lines
    inner join reporting_locations on order_lines.location_id = reporting_locations.location_id
    {% if is_incremental() -%}
    inner join touched
        on
            order_lines.order_line_key = touched.part_of
            and order_lines.item_id = touched.item_id
    {%- endif %}
),

-- where the place did not say, the catalogue knows what was promoted, everywhere or there
priced as (
    select
        parts.part_source,
        parts.part_of,
        parts.order_id,
        parts.location_id,
        parts.item_id,
        case when parts.is_current then parts.customer_key end as customer_key,
        parts.channel,
        parts.taken_units,
        parts.returned_units,
        parts.unit_price_usd,
        coalesce(parts.unit_price_usd, item_versions.price_usd) as price_usd,
        item_versions.unit_cost_usd,
        case
            when parts.taken_units = 0 then 0
            when
                coalesce(
                    parts.is_promoted,
                    everywhere.item_id is not null or there.item_id is not null
                )
                then 1
            else 0
        end as is_promoted,
        case when parts.is_current then parts.sale_date end as current_sale_date,
        case when parts.is_current then parts.sold_at end as current_sold_at,
        parts.sale_date,
        parts.sold_at,
        parts.accepted_at
    from parts
    left join item_versions
        on
            parts.item_id = item_versions.item_id
            and parts.sold_at >= item_versions.valid_from
            and parts.sold_at < item_versions.valid_to
    left join promoted_times as everywhere
        on
            parts.item_id = everywhere.item_id
            and parts.sold_at >= everywhere.starts_at
            and parts.sold_at < everywhere.ends_at
            and everywhere.location_id is null
    left join promoted_times as there
        on
            parts.item_id = there.item_id
            and parts.location_id = there.location_id
            and parts.sold_at >= there.starts_at
            and parts.sold_at < there.ends_at
),

-- what is asked about a net is asked here with max(): DuckDB 2.0.0 compares a sum() wrongly after a
-- left join to what it can prove to be empty
netted as (
    select
        part_source,
        part_of,
        location_id,
        item_id,
        channel,
        min(order_id) as order_id,
        max(customer_key) as customer_key,
        sum(taken_units - returned_units) as quantity,
        sum(taken_units) as taken_units,
        sum(taken_units * price_usd) as taken_usd,
        sum(case when unit_price_usd is null then returned_units else 0 end)
            as unpriced_returned_units,
        sum(case when unit_price_usd is null then 0 else returned_units * unit_price_usd end)
            as priced_returned_usd,
        sum(case when unit_price_usd is null then returned_units * price_usd else 0 end)
            as list_returned_usd,
        sum((taken_units - returned_units) * unit_cost_usd) as cost_usd,
        max(case when taken_units > 0 then 1 else 0 end) as has_taken,
        max(case when price_usd is null and taken_units + returned_units > 0 then 1 else 0 end)
            as has_unpriced,
        max(is_promoted) as is_promoted,
        coalesce(min(current_sale_date), min(sale_date)) as sale_date,
        coalesce(min(current_sold_at), min(sold_at)) as sold_at,
        max(accepted_at) as accepted_at
    from priced
    group by part_source, part_of, location_id, item_id, channel
),

-- what is put back without a price is worth what was paid for it in this basket
valued as (
    select
        case
            when part_source = 'stock' then md5('stock|' || part_of || '|' || item_id)
            else md5('order|' || part_of)
        end as sale_key,
        location_id,
        item_id,
        customer_key,
        case
            when part_source = 'stock' then part_of
            else md5(
                cast(length(location_id) as varchar) || '|' || location_id || '|o' || order_id
            )
        end as basket_key,
        channel,
        quantity,
        case
            when has_unpriced = 0
                then cast(
                    taken_usd
                    - priced_returned_usd
                    - case
                        when has_taken = 1
                            then
                                cast(unpriced_returned_units as double)
                                * cast(taken_usd as double)
                                / cast(taken_units as double)
                        else list_returned_usd
                    end
                    as numeric(18, 4)
                )
        end as amount_usd,
        cost_usd,
        is_promoted = 1 as is_promoted,
        sale_date,
        sold_at,
        accepted_at
    from netted
),

sales as (
    select
        sale_key,
        location_id,
        item_id,
        customer_key,
        basket_key,
        channel,
        cast(quantity as numeric(18, 3)) as quantity,
        amount_usd,
        cast(amount_usd - cost_usd as numeric(18, 4)) as margin_usd,
        is_promoted,
        sale_date,
        sold_at,
        accepted_at
    from valued
)

select *
from sales
