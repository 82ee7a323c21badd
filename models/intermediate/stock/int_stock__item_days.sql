-- one row per location, item and local day on which the item was on offer there (it had been heard
-- of in the last `active_days`) or was sold or wasted: the one base of all reports over time. Every
-- pair is computed anew from its earliest touched day on; days that are gone stay as rows that say
-- so (is_known = false), so that the reports built on them hear of it.
-- Lost units = minutes without stock x units sold per minute with stock over the last
-- `usual_sales_days` up to the day. Units per minute at risk is the estimate of a rate that stops
-- being seen when the shelf is empty; leaving days with a stock-out away would leave the best
-- days away.
{{ config(
    materialized='incremental',
    unique_key=['location_id', 'item_id', 'item_date'],
    incremental_strategy='delete+insert'
) }}

-- each step imports the facts for itself: DuckDB copies what is used twice
with location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

-- 0, 1, … days after a sale
days_after as (
    select cast(calendar_date - cast('{{ var("first_date") }}' as date) as integer) as day_number
    from {{ ref('int_clock__dates') }}
    where calendar_date < cast('{{ var("first_date") }}' as date) + {{ var('active_days') }}
),

movements as (
    select *
    from {{ ref('int_stock__movements') }}
),

order_versions as (
    select *
    from {{ ref('anon_commerce__order_lines') }}
),

{% if is_incremental() -%}
touches as (
    -- a new time zone may have moved an event, and with it a sale, by two days
    select
        location_id,
        item_id,
        stock_date - 2 as from_date,
        accepted_at
    from movements
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        location_id,
        item_id,
        least(cast(ordered_at as date), cast(updated_at as date)) - 2 as from_date,
        accepted_at
    from order_versions
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        location_id,
        item_id,
        sale_date - 2 as from_date,
        accepted_at
    from {{ ref('fct_sales') }}
    where accepted_at > {{ last_accepted(this) }}
    union all
    select
        location_id,
        item_id,
        waste_date - 2 as from_date,
        accepted_at
    from {{ ref('fct_waste') }}
    where accepted_at > {{ last_accepted(this) }}
    union all
    -- another price or cost is another margin lost
    select
        known_days.location_id,
        known_days.item_id,
        min(known_days.item_date) as from_date,
        max(item_versions.accepted_at) as accepted_at
    from {{ this }} as known_days
    inner join item_versions
        on
            known_days.item_id = item_versions.item_id
            and known_days.item_date >= cast(item_versions.valid_from as date)
    where item_versions.accepted_at > {{ last_accepted(this) }}
    group by known_days.location_id, known_days.item_id
    union all
    -- a place that begins to report its stock has its sales from there
    select
        known_days.location_id,
        known_days.item_id,
        min(known_days.item_date) as from_date,
        max(location_days.accepted_at) as accepted_at
    from {{ this }} as known_days
    inner join location_days
        on
            known_days.location_id = location_days.location_id
            and known_days.has_stock_events != location_days.has_stock_events
    group by known_days.location_id, known_days.item_id
    union all
    -- the days that were not over last time; two, for somewhere it is a day later
    select
        location_id,
        item_id,
        stock_date as from_date,
        accepted_at
    from {{ ref('fct_stock_days') }}
    where stock_date = {{ newest_date(this, 'item_date', 'is_known') }} - 2
    union all
    select
        known_days.location_id,
        known_days.item_id,
        known_days.item_date as from_date,
        known_days.accepted_at
    from {{ this }} as known_days
    where known_days.item_date > {{ newest_date(this, 'item_date', 'is_known') }} - 3
    union all
    -- a clock that was set back takes days away, without a record that says so
    select
        known_days.location_id,
        known_days.item_id,
        min(known_days.item_date) as from_date,
        max({{ dbt.dateadd('microsecond', 1, last_accepted(this)) }}) as accepted_at
    from {{ this }} as known_days
    inner join location_days on known_days.location_id = location_days.location_id
    where known_days.is_known and known_days.item_date > location_days.told_until_date
    group by known_days.location_id, known_days.item_id
),
{%- else -%}
touches as (
    select
        location_id,
        item_id,
        stock_date as from_date,
        accepted_at
    from {{ ref('fct_stock_days') }}
    union all
    select
        location_id,
        item_id,
        sale_date as from_date,
        accepted_at
    from {{ ref('fct_sales') }}
    union all
    select
        location_id,
        item_id,
        waste_date as from_date,
        accepted_at
    from {{ ref('fct_waste') }}
),
{%- endif %}

touched as (
    select
        location_id,
        item_id,
        min(from_date) as from_date,
        {% if is_incremental() -%}
        max(accepted_at) as accepted_at
        {%- else -%}
        cast('1900-01-01' as timestamp) as accepted_at
        {%- endif %}
    from touches
    group by location_id, item_id
),

-- the least first day says which days the engine has to look at at all
first_date as (
    select min(from_date) as from_date
    from touched
),

-- the day that is not over counts as far as it has gone
stocked as (
    select
        stock_days.location_id,
        stock_days.item_id,
        stock_days.stock_date as item_date,
        touched.from_date,
        stock_days.sold_units,
        stock_days.stocked_out_minutes,
        stock_days.open_minutes,
        stock_days.is_stocked_out,
        case
            when stock_days.stock_date < location_days.told_until_date
                then stock_days.open_minutes
            else least(
                greatest(
                    {{ dbt.datediff(
                        "cast(stock_days.stock_date as timestamp)",
                        local_time('location_days.told_until_at', 'location_days.time_zone'),
                        'minute'
                    ) }} - location_days.opens_minute,
                    0
                ),
                stock_days.open_minutes
            )
        end as minutes_so_far,
        cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }} as is_on_offer,
        greatest(stock_days.accepted_at, touched.accepted_at) as accepted_at
    from {{ ref('fct_stock_days') }} as stock_days
    inner join touched
        on
            stock_days.location_id = touched.location_id
            and stock_days.item_id = touched.item_id
            and stock_days.stock_date > touched.from_date - {{ var('usual_sales_days') }}
    inner join location_days on stock_days.location_id = location_days.location_id
    where
        stock_days.stock_date
        > (select first_date.from_date from first_date) - {{ var('usual_sales_days') }}
),

exposed as (
    select
        *,
        sum(sold_units) over (
            partition by location_id, item_id
            order by item_date
            rows between {{ var('usual_sales_days') - 1 }} preceding and current row
        ) as usual_units,
        sum(greatest(minutes_so_far - stocked_out_minutes, 0)) over (
            partition by location_id, item_id
            order by item_date
            rows between {{ var('usual_sales_days') - 1 }} preceding and current row
        ) as usual_minutes
    from stocked
),

lost as (
    select
        exposed.location_id,
        exposed.item_id,
        exposed.item_date,
        exposed.is_stocked_out,
        exposed.stocked_out_minutes,
        exposed.minutes_so_far,
        cast(
            greatest(exposed.minutes_so_far - exposed.stocked_out_minutes, 0)
            / nullif(exposed.open_minutes, 0) as numeric(18, 6)
        ) as available_days,
        cast(
            case
                when exposed.usual_minutes > 0 and exposed.usual_units > 0
                    then
                        cast(exposed.stocked_out_minutes as double)
                        * cast(exposed.usual_units as double)
                        / cast(exposed.usual_minutes as double)
                else 0
            end as numeric(18, 3)
        ) as lost_units,
        exposed.accepted_at
    from exposed
    where exposed.item_date >= exposed.from_date and exposed.is_on_offer
),

-- where no stock is reported an item is on offer for as long as it is sold now and then
sale_days as (
    select
        sales.location_id,
        sales.item_id,
        sales.sale_date,
        touched.from_date,
        location_days.told_until_date,
        location_days.closes_minute - location_days.opens_minute as minutes_so_far,
        max(greatest(sales.accepted_at, touched.accepted_at)) as accepted_at
    from {{ ref('fct_sales') }} as sales
    inner join touched
        on
            sales.location_id = touched.location_id
            and sales.item_id = touched.item_id
            and sales.sale_date > touched.from_date - {{ var('active_days') }}
    inner join location_days on sales.location_id = location_days.location_id
    where
        not location_days.has_stock_events
        and sales.sale_date
        > (select first_date.from_date from first_date) - {{ var('active_days') }}
    group by
        sales.location_id,
        sales.item_id,
        sales.sale_date,
        touched.from_date,
        location_days.told_until_date,
        location_days.closes_minute - location_days.opens_minute
),

offered as (
    select
        sale_days.location_id,
        sale_days.item_id,
        sale_days.sale_date + days_after.day_number as item_date,
        sale_days.minutes_so_far,
        max(sale_days.accepted_at) as accepted_at
    from sale_days
    cross join days_after
    where
        sale_days.sale_date + days_after.day_number >= sale_days.from_date
        and sale_days.sale_date + days_after.day_number <= sale_days.told_until_date
    group by
        sale_days.location_id,
        sale_days.item_id,
        sale_days.sale_date + days_after.day_number,
        sale_days.minutes_so_far
),

measures as (
    select
        location_id,
        item_id,
        item_date,
        cast(0 as numeric(18, 3)) as sold_units,
        cast(0 as numeric(18, 4)) as sales_usd,
        cast(0 as numeric(18, 4)) as margin_usd,
        cast(0 as numeric(18, 3)) as wasted_units,
        cast(0 as numeric(18, 4)) as waste_cost_usd,
        1 as offered_days,
        case when is_stocked_out then 1 else 0 end as stocked_out_days,
        cast(stocked_out_minutes as numeric(18, 3)) as stocked_out_minutes,
        cast(minutes_so_far as numeric(18, 3)) as open_minutes,
        coalesce(available_days, 0) as available_days,
        lost_units,
        accepted_at
    from lost
    union all
    select
        location_id,
        item_id,
        item_date,
        0 as sold_units,
        0 as sales_usd,
        0 as margin_usd,
        0 as wasted_units,
        0 as waste_cost_usd,
        1 as offered_days,
        0 as stocked_out_days,
        0 as stocked_out_minutes,
        cast(minutes_so_far as numeric(18, 3)) as open_minutes,
        1 as available_days,
        0 as lost_units,
        accepted_at
    from offered
    union all
    select
        sales.location_id,
        sales.item_id,
        sales.sale_date as item_date,
        sales.quantity as sold_units,
        coalesce(sales.amount_usd, 0) as sales_usd,
        coalesce(sales.margin_usd, 0) as margin_usd,
        0 as wasted_units,
        0 as waste_cost_usd,
        0 as offered_days,
        0 as stocked_out_days,
        0 as stocked_out_minutes,
        0 as open_minutes,
        0 as available_days,
        0 as lost_units,
        greatest(sales.accepted_at, touched.accepted_at) as accepted_at
    from {{ ref('fct_sales') }} as sales
    inner join touched
        on
            sales.location_id = touched.location_id
            and sales.item_id = touched.item_id
            and sales.sale_date >= touched.from_date
    where sales.sale_date >= (select first_date.from_date from first_date)
    union all
    select
        waste.location_id,
        waste.item_id,
        waste.waste_date as item_date,
        0 as sold_units,
        0 as sales_usd,
        0 as margin_usd,
        waste.quantity as wasted_units,
        coalesce(waste.waste_cost_usd, 0) as waste_cost_usd,
        0 as offered_days,
        0 as stocked_out_days,
        0 as stocked_out_minutes,
        0 as open_minutes,
        0 as available_days,
        0 as lost_units,
        greatest(waste.accepted_at, touched.accepted_at) as accepted_at
    from {{ ref('fct_waste') }} as waste
    inner join touched
        on
            waste.location_id = touched.location_id
            and waste.item_id = touched.item_id
            and waste.waste_date >= touched.from_date
    where waste.waste_date >= (select first_date.from_date from first_date)
),

summed as (
    select
        location_id,
        item_id,
        item_date,
        sum(sold_units) as sold_units,
        sum(sales_usd) as sales_usd,
        sum(margin_usd) as margin_usd,
        sum(wasted_units) as wasted_units,
        sum(waste_cost_usd) as waste_cost_usd,
        sum(offered_days) as offered_days,
        sum(stocked_out_days) as stocked_out_days,
        sum(stocked_out_minutes) as stocked_out_minutes,
        sum(open_minutes) as open_minutes,
        sum(available_days) as available_days,
        sum(lost_units) as lost_units,
        max(accepted_at) as accepted_at
    from measures
    group by location_id, item_id, item_date
),

{% if is_incremental() -%}
gone as (
    select
        known_days.location_id,
        known_days.item_id,
        known_days.item_date,
        known_days.has_stock_events,
        greatest(known_days.accepted_at, touched.accepted_at) as accepted_at
    from {{ this }} as known_days
    inner join touched
        on
            known_days.location_id = touched.location_id
            and known_days.item_id = touched.item_id
            and known_days.item_date >= touched.from_date
    left join summed
        on
            known_days.location_id = summed.location_id
            and known_days.item_id = summed.item_id
            and known_days.item_date = summed.item_date
    where
        known_days.item_date >= (select first_date.from_date from first_date)
        and summed.location_id is null
),
{%- endif %}

item_days as (
    select
        summed.location_id,
        summed.item_id,
        cast(summed.sold_units as numeric(18, 3)) as sold_units,
        cast(summed.sales_usd as numeric(18, 4)) as sales_usd,
        cast(summed.margin_usd as numeric(18, 4)) as margin_usd,
        cast(summed.wasted_units as numeric(18, 3)) as wasted_units,
        cast(summed.waste_cost_usd as numeric(18, 4)) as waste_cost_usd,
        cast(summed.offered_days as integer) as offered_days,
        cast(summed.stocked_out_days as integer) as stocked_out_days,
        cast(summed.stocked_out_minutes as numeric(18, 3)) as stocked_out_minutes,
        cast(summed.open_minutes as numeric(18, 3)) as open_minutes,
        cast(summed.available_days as numeric(18, 6)) as available_days,
        cast(summed.lost_units as numeric(18, 3)) as lost_units,
        -- at the price and cost in force at noon
        cast(
            summed.lost_units
            * greatest(coalesce(item_versions.price_usd - item_versions.unit_cost_usd, 0), 0)
            as numeric(18, 4)
        ) as lost_margin_usd,
        coalesce(location_days.has_stock_events, false) as has_stock_events,
        true as is_known,
        summed.item_date,
        summed.accepted_at
    from summed
    left join location_days on summed.location_id = location_days.location_id
    left join item_versions
        on
            summed.item_id = item_versions.item_id
            and summed.lost_units > 0
            and {{ dbt.dateadd('hour', 12, 'cast(summed.item_date as timestamp)') }}
            >= item_versions.valid_from
            and {{ dbt.dateadd('hour', 12, 'cast(summed.item_date as timestamp)') }}
            < item_versions.valid_to
    {% if is_incremental() -%}
    union all
    select
        location_id,
        item_id,
        0 as sold_units,
        0 as sales_usd,
        0 as margin_usd,
        0 as wasted_units,
        0 as waste_cost_usd,
        0 as offered_days,
        0 as stocked_out_days,
        0 as stocked_out_minutes,
        0 as open_minutes,
        0 as available_days,
        0 as lost_units,
        0 as lost_margin_usd,
        has_stock_events,
        false as is_known,
        item_date,
        accepted_at
    from gone
    {%- endif %}
)

select *
from item_days
