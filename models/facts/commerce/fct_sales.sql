-- one row per location, basket and item: what was taken less what was put back, and one per order
-- line that was picked up where no stock is reported; a net of nothing is no sale
{{ config(
    unique_key='sale_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where quantity = 0"
) }}

with movements as (
    select *
    from {{ ref('int_stock__movements') }}
    where kind in ('taken', 'put_back')
),

order_lines as (
    select *
    from {{ ref('int_commerce__order_lines') }}
),

reporting_locations as (
    select *
    from {{ ref('int_commerce__reporting_locations') }}
),

item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

promoted_items as (
    select *
    from {{ ref('int_catalog__promoted_items') }}
),

{% if is_incremental() -%}
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
    from promoted_items
    where accepted_at > {{ last_accepted(this) }}
),

touches as (
    select
        basket_key as part_of,
        item_id,
        accepted_at
    from movements
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        movements.basket_key as part_of,
        movements.item_id,
        changed_times.accepted_at
    from movements
    inner join changed_times
        on
            movements.item_id = changed_times.item_id
            and movements.occurred_at >= changed_times.starts_at
            and movements.occurred_at <= changed_times.ends_at
    union all
    select
        order_line_key as part_of,
        item_id,
        accepted_at
    from order_lines
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        order_lines.order_line_key as part_of,
        order_lines.item_id,
        reporting_locations.changed_at as accepted_at
    from order_lines
    inner join reporting_locations on order_lines.location_id = reporting_locations.location_id
    where reporting_locations.changed_at > {{ last_accepted(this) }}
    union all
    select
        order_lines.order_line_key as part_of,
        order_lines.item_id,
        changed_times.accepted_at
    from order_lines
    inner join changed_times
        on
            order_lines.item_id = changed_times.item_id
            and order_lines.picked_up_at >= changed_times.starts_at
            and order_lines.picked_up_at <= changed_times.ends_at
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
        md5('stock|' || movements.basket_key || '|' || movements.item_id) as sale_key,
        movements.basket_key,
        movements.event_id as part_key,
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
    from movements
    {% if is_incremental() -%}
    inner join touched
        on movements.basket_key = touched.part_of and movements.item_id = touched.item_id
    {%- endif %}
    union all
    select
        md5('order|' || order_lines.order_line_key) as sale_key,
        md5(
            cast(length(order_lines.location_id) as varchar) || '|' || order_lines.location_id
            || '|o' || order_lines.order_id
        ) as basket_key,
        order_lines.order_line_key as part_key,
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
    from order_lines
    inner join reporting_locations on order_lines.location_id = reporting_locations.location_id
    {% if is_incremental() -%}
    inner join touched
        on
            order_lines.order_line_key = touched.part_of
            and order_lines.item_id = touched.item_id
    {%- endif %}
),

-- where the place did not say, the catalogue knows what was promoted
promoted_sales as (
    select distinct parts.sale_key
    from parts
    inner join promoted_items
        on
            parts.item_id = promoted_items.item_id
            and parts.sold_at >= promoted_items.starts_at
            and parts.sold_at < promoted_items.ends_at
            and parts.location_id
            = coalesce(promoted_items.location_id, parts.location_id)
    where promoted_items.is_in_force and parts.is_promoted is null and parts.taken_units > 0
),

priced as (
    select
        parts.sale_key,
        parts.basket_key,
        parts.location_id,
        parts.item_id,
        parts.customer_key,
        parts.channel,
        parts.taken_units,
        parts.returned_units,
        parts.unit_price_usd,
        coalesce(parts.unit_price_usd, item_versions.price_usd) as price_usd,
        item_versions.unit_cost_usd,
        parts.is_promoted,
        parts.is_current,
        parts.sale_date,
        parts.sold_at,
        greatest(
            parts.accepted_at, coalesce(item_versions.accepted_at, parts.accepted_at)
        ) as accepted_at
    from parts
    left join item_versions
        on
            parts.item_id = item_versions.item_id
            and parts.sold_at >= item_versions.valid_from
            and parts.sold_at < item_versions.valid_to
),

netted as (
    select
        sale_key,
        min(basket_key) as basket_key,
        min(location_id) as location_id,
        min(item_id) as item_id,
        max(case when is_current then customer_key end) as customer_key,
        min(channel) as channel,
        sum(taken_units - returned_units) as quantity,
        sum(taken_units) as taken_units,
        sum(taken_units * price_usd) as taken_usd,
        sum(case when unit_price_usd is null then returned_units else 0 end)
            as unpriced_returned_units,
        sum(returned_units * unit_price_usd) as priced_returned_usd,
        sum(case when unit_price_usd is null then returned_units * price_usd else 0 end)
            as list_returned_usd,
        sum(case when price_usd is null then 1 else 0 end) as unpriced_parts,
        sum((taken_units - returned_units) * unit_cost_usd) as cost_usd,
        max(case when is_promoted and taken_units > 0 then 1 else 0 end) as promoted_parts,
        coalesce(min(case when is_current then sale_date end), min(sale_date)) as sale_date,
        coalesce(min(case when is_current then sold_at end), min(sold_at)) as sold_at,
        max(accepted_at) as accepted_at
    from priced
    group by sale_key
),

-- what is put back without a price is worth what was paid for it in this basket
valued as (
    select
        sale_key,
        basket_key,
        location_id,
        item_id,
        customer_key,
        channel,
        quantity,
        case
            when unpriced_parts = 0
                then cast(
                    taken_usd
                    - coalesce(priced_returned_usd, 0)
                    - case
                        when taken_units > 0 and unpriced_returned_units > 0
                            then cast(unpriced_returned_units as double)
                                * cast(taken_usd as double) / cast(taken_units as double)
                        else list_returned_usd
                    end
                    as numeric(18, 4)
                )
        end as amount_usd,
        cost_usd,
        promoted_parts,
        sale_date,
        sold_at,
        accepted_at
    from netted
),

sales as (
    select
        valued.sale_key,
        valued.location_id,
        valued.item_id,
        valued.customer_key,
        valued.basket_key,
        valued.channel,
        cast(valued.quantity as numeric(18, 3)) as quantity,
        valued.amount_usd,
        cast(valued.amount_usd - valued.cost_usd as numeric(18, 4)) as margin_usd,
        valued.promoted_parts = 1 or promoted_sales.sale_key is not null as is_promoted,
        valued.sale_date,
        valued.sold_at,
        valued.accepted_at
    from valued
    left join promoted_sales on valued.sale_key = promoted_sales.sale_key
)

select *
from sales
