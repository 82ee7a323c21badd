-- one row per location, item and local day, dense from the pair's first event to today; every pair
-- is computed anew from its earliest touched day on, so late and corrected events change all that
-- follows from them
{{ config(
    unique_key=['location_id', 'item_id', 'stock_date'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where last_event_at is null"
) }}

with movements as (
    select *
    from {{ ref('int_stock__movements') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

dates as (
    select calendar_date
    from {{ ref('int_clock__dates') }}
),

{% if is_incremental() -%}
known_days as (
    select *
    from {{ this }}
),

touched_pairs as (
    select
        location_id,
        item_id,
        -- a new time zone may have moved an event by a day
        min(stock_date) - 1 as from_date,
        max(accepted_at) as accepted_at
    from movements
    where accepted_at > {{ last_accepted(this) }}
    group by location_id, item_id
    union all
    -- the day that was not over last time, for all pairs
    select
        location_id,
        item_id,
        max(stock_date) as from_date,
        max(accepted_at) as accepted_at
    from known_days
    group by location_id, item_id
),
{%- else -%}
touched_pairs as (
    select
        location_id,
        item_id,
        min(stock_date) as from_date,
        max(accepted_at) as accepted_at
    from movements
    group by location_id, item_id
),
{%- endif %}

pairs as (
    select
        touched_pairs.location_id,
        touched_pairs.item_id,
        min(touched_pairs.from_date) as from_date,
        max(touched_pairs.accepted_at) as accepted_at
    from touched_pairs
    group by touched_pairs.location_id, touched_pairs.item_id
),

opened_pairs as (
    select
        pairs.location_id,
        pairs.item_id,
        pairs.from_date,
        pairs.accepted_at,
        {% if is_incremental() -%}
        coalesce(known_days.closing_units, 0) as opening_units,
        known_days.last_event_at
        {%- else -%}
        cast(0 as numeric(18, 3)) as opening_units,
        cast(null as timestamp) as last_event_at
        {%- endif %}
    from pairs
    {% if is_incremental() -%}
    left join known_days
        on
            pairs.location_id = known_days.location_id
            and pairs.item_id = known_days.item_id
            and pairs.from_date - 1 = known_days.stock_date
    {%- endif %}
),

events as (
    select
        movements.location_id,
        movements.item_id,
        movements.event_id,
        movements.kind,
        movements.quantity,
        movements.stock_change,
        movements.stock_date,
        movements.occurred_at,
        opened_pairs.opening_units as pair_opening_units,
        sum(case when movements.kind = 'counted' then 1 else 0 end) over (
            partition by movements.location_id, movements.item_id
            order by movements.occurred_at, movements.event_id
            rows between unbounded preceding and current row
        ) as count_number
    from movements
    inner join opened_pairs
        on
            movements.location_id = opened_pairs.location_id
            and movements.item_id = opened_pairs.item_id
            and movements.stock_date >= opened_pairs.from_date
    where movements.is_current
),

-- between two counts the stock is the counted one plus what has moved since
levels as (
    select
        location_id,
        item_id,
        event_id,
        kind,
        quantity,
        stock_change,
        stock_date,
        occurred_at,
        pair_opening_units,
        case
            when count_number = 0 then pair_opening_units
            else max(case when kind = 'counted' then quantity end) over (
                partition by location_id, item_id, count_number
            )
        end
        + sum(stock_change) over (
            partition by location_id, item_id, count_number
            order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as units
    from events
),

adjusted as (
    select
        location_id,
        item_id,
        event_id,
        kind,
        quantity,
        stock_date,
        occurred_at,
        units,
        case
            when kind = 'counted'
                then units - coalesce(
                    lag(units) over (
                        partition by location_id, item_id order by occurred_at, event_id
                    ),
                    pair_opening_units
                )
            else 0
        end as adjustment
    from levels
),

event_days as (
    select
        location_id,
        item_id,
        stock_date,
        sum(case when kind = 'restocked' then quantity else 0 end) as restocked_units,
        sum(case when kind = 'taken' then quantity when kind = 'put_back' then -quantity else 0 end)
            as sold_units,
        sum(case when kind = 'discarded' then quantity else 0 end) as discarded_units,
        sum(adjustment) as adjusted_units,
        max(occurred_at) as last_event_at
    from adjusted
    group by location_id, item_id, stock_date
),

dense_days as (
    select
        opened_pairs.location_id,
        opened_pairs.item_id,
        dates.calendar_date as stock_date,
        opened_pairs.opening_units as pair_opening_units,
        coalesce(event_days.restocked_units, 0) as restocked_units,
        coalesce(event_days.sold_units, 0) as sold_units,
        coalesce(event_days.discarded_units, 0) as discarded_units,
        coalesce(event_days.adjusted_units, 0) as adjusted_units,
        coalesce(
            max(event_days.last_event_at) over (
                partition by opened_pairs.location_id, opened_pairs.item_id
                order by dates.calendar_date
                rows between unbounded preceding and current row
            ),
            opened_pairs.last_event_at
        ) as last_event_at,
        location_days.time_zone,
        location_days.opens_minute,
        location_days.closes_minute,
        location_days.as_of_at,
        opened_pairs.accepted_at
    from opened_pairs
    inner join location_days on opened_pairs.location_id = location_days.location_id
    inner join dates
        on dates.calendar_date between opened_pairs.from_date and location_days.local_date
    left join event_days
        on
            opened_pairs.location_id = event_days.location_id
            and opened_pairs.item_id = event_days.item_id
            and dates.calendar_date = event_days.stock_date
),

balanced as (
    select
        *,
        pair_opening_units + sum(restocked_units - sold_units - discarded_units + adjusted_units)
            over (
                partition by location_id, item_id
                order by stock_date
                rows between unbounded preceding and current row
            ) as closing_units
    from dense_days
),

opened as (
    select
        *,
        closing_units - restocked_units + sold_units + discarded_units - adjusted_units
            as opening_units,
        {{ utc_time(
            dbt.dateadd('minute', 'opens_minute', 'cast(stock_date as timestamp)'), 'time_zone'
        ) }} as opens_at,
        {{ utc_time(
            dbt.dateadd('minute', 'closes_minute', 'cast(stock_date as timestamp)'), 'time_zone'
        ) }} as closes_at
    from balanced
),

-- what was there from each moment on: at opening what the night left, then what each event left
moments as (
    select
        location_id,
        item_id,
        stock_date,
        cast('1900-01-01' as timestamp) as from_at,
        '' as event_id,
        opening_units as units
    from opened
    union all
    select
        location_id,
        item_id,
        stock_date,
        occurred_at as from_at,
        event_id,
        units
    from adjusted
),

spells as (
    select
        location_id,
        item_id,
        stock_date,
        from_at,
        lead(from_at) over (
            partition by location_id, item_id, stock_date order by from_at, event_id
        ) as to_at,
        units
    from moments
),

empty_days as (
    select
        spells.location_id,
        spells.item_id,
        spells.stock_date,
        sum({{ dbt.datediff(
            'greatest(spells.from_at, opened.opens_at)',
            'least(coalesce(spells.to_at, opened.closes_at), opened.closes_at, opened.as_of_at)',
            'second'
        ) }}) as empty_seconds
    from spells
    inner join opened
        on
            spells.location_id = opened.location_id
            and spells.item_id = opened.item_id
            and spells.stock_date = opened.stock_date
    where
        spells.units <= 0
        and greatest(spells.from_at, opened.opens_at)
        < least(coalesce(spells.to_at, opened.closes_at), opened.closes_at, opened.as_of_at)
    group by spells.location_id, spells.item_id, spells.stock_date
),

stock_days as (
    select
        opened.location_id,
        opened.item_id,
        cast(opened.opening_units as numeric(18, 3)) as opening_units,
        cast(opened.restocked_units as numeric(18, 3)) as restocked_units,
        cast(opened.sold_units as numeric(18, 3)) as sold_units,
        cast(opened.discarded_units as numeric(18, 3)) as discarded_units,
        cast(opened.adjusted_units as numeric(18, 3)) as adjusted_units,
        cast(opened.closing_units as numeric(18, 3)) as closing_units,
        cast(coalesce(empty_days.empty_seconds, 0) / 60.0 as numeric(18, 3))
            as stocked_out_minutes,
        cast(opened.closes_minute - opened.opens_minute as integer) as open_minutes,
        coalesce(empty_days.empty_seconds, 0) > 0 as is_stocked_out,
        opened.stock_date,
        opened.last_event_at,
        opened.accepted_at
    from opened
    left join empty_days
        on
            opened.location_id = empty_days.location_id
            and opened.item_id = empty_days.item_id
            and opened.stock_date = empty_days.stock_date
)

select *
from stock_days
