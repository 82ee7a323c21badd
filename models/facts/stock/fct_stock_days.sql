-- one row per location, item and local day, dense from the pair's first event to today; every pair
-- is computed anew from its earliest touched day on, so late and corrected events change all that
-- follows from them
{{ config(
    unique_key=['location_id', 'item_id', 'stock_date'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where last_event_at is null"
) }}

-- each step imports the movements for itself: DuckDB copies what is used twice
with location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

dates as (
    select calendar_date
    from {{ ref('int_clock__dates') }}
),

{% if is_incremental() -%}
-- the newest days, of which every known pair has the last one: it was not over
newest_days as (
    select
        location_id,
        item_id,
        stock_date
    from {{ this }}
    where stock_date >= {{ newest_date(this, 'stock_date') }} - 3
),

touched as (
    select
        location_id,
        item_id,
        -- a new time zone may have moved an event by two days
        min(stock_date) - 2 as from_date,
        min(stock_date) as known_until_date
    from {{ ref('int_stock__movements') }}
    where accepted_at > {{ last_accepted(this) }}
    group by location_id, item_id
    union all
    -- a clock that was set back takes days away
    select
        newest_days.location_id,
        newest_days.item_id,
        least(max(newest_days.stock_date), min(location_days.told_until_date)) as from_date,
        max(newest_days.stock_date) as known_until_date
    from newest_days
    inner join location_days on newest_days.location_id = location_days.location_id
    group by newest_days.location_id, newest_days.item_id
),
{%- else -%}
touched as (
    select
        location_id,
        item_id,
        min(stock_date) as from_date,
        min(stock_date) as known_until_date
    from {{ ref('int_stock__movements') }}
    group by location_id, item_id
),
{%- endif %}

pairs as (
    select
        location_id,
        item_id,
        min(from_date) as from_date,
        max(known_until_date) as known_until_date
    from touched
    group by location_id, item_id
),

{% if is_incremental() -%}
opened_pairs as (
    select
        pairs.location_id,
        pairs.item_id,
        pairs.from_date,
        pairs.known_until_date,
        coalesce(known_days.closing_units, 0) as opening_units,
        known_days.last_event_at
    from pairs
    left join {{ this }} as known_days
        on
            pairs.location_id = known_days.location_id
            and pairs.item_id = known_days.item_id
            and pairs.from_date - 1 = known_days.stock_date
),
{%- else -%}
opened_pairs as (
    select
        location_id,
        item_id,
        from_date,
        known_until_date,
        cast(0 as numeric(18, 3)) as opening_units,
        cast(null as timestamp) as last_event_at
    from pairs
),
{%- endif %}

pair_days as (
    select
        opened_pairs.location_id,
        opened_pairs.item_id,
        dates.calendar_date as stock_date,
        opened_pairs.opening_units as pair_opening_units,
        opened_pairs.last_event_at as pair_last_event_at,
        dates.calendar_date <= location_days.told_until_date as has_begun,
        location_days.time_zone,
        location_days.opens_minute,
        location_days.closes_minute,
        location_days.told_until_at,
        location_days.accepted_at
    from opened_pairs
    inner join location_days on opened_pairs.location_id = location_days.location_id
    inner join dates
        on
            dates.calendar_date
            between opened_pairs.from_date
            and greatest(location_days.told_until_date, opened_pairs.known_until_date)
),

-- the least first day says which days the engine has to open at all
first_date as (
    select min(from_date) as from_date
    from opened_pairs
),

flows as (
    select
        movements.location_id,
        movements.item_id,
        movements.stock_date,
        sum(case when movements.kind = 'restocked' then movements.quantity else 0 end)
            as restocked_units,
        sum(
            case
                when movements.kind = 'taken' then movements.quantity
                when movements.kind = 'put_back' then -movements.quantity
                else 0
            end
        ) as sold_units,
        sum(case when movements.kind = 'discarded' then movements.quantity else 0 end)
            as discarded_units,
        min(movements.occurred_at) as first_event_at,
        max(movements.occurred_at) as last_event_at
    from {{ ref('int_stock__movements') }} as movements
    inner join opened_pairs
        on
            movements.location_id = opened_pairs.location_id
            and movements.item_id = opened_pairs.item_id
            and movements.stock_date >= opened_pairs.from_date
    where
        movements.is_current
        and movements.stock_date >= (select first_date.from_date from first_date)
    group by movements.location_id, movements.item_id, movements.stock_date
),

events as (
    select
        movements.location_id,
        movements.item_id,
        case when movements.kind = 'counted' then movements.quantity end as counted_units,
        movements.stock_change,
        movements.stock_date,
        movements.occurred_at,
        opened_pairs.opening_units as pair_opening_units,
        row_number() over (
            partition by movements.location_id, movements.item_id
            order by movements.occurred_at, movements.event_id
        ) as event_number,
        sum(case when movements.kind = 'counted' then 1 else 0 end) over (
            partition by movements.location_id, movements.item_id
            order by movements.occurred_at, movements.event_id
            rows between unbounded preceding and current row
        ) as count_number,
        lead(movements.occurred_at) over (
            partition by movements.location_id, movements.item_id
            order by movements.occurred_at, movements.event_id
        ) as next_at,
        lead(movements.stock_date) over (
            partition by movements.location_id, movements.item_id
            order by movements.occurred_at, movements.event_id
        ) as next_date
    from {{ ref('int_stock__movements') }} as movements
    inner join opened_pairs
        on
            movements.location_id = opened_pairs.location_id
            and movements.item_id = opened_pairs.item_id
            and movements.stock_date >= opened_pairs.from_date
    where
        movements.is_current
        and movements.stock_date >= (select first_date.from_date from first_date)
),

-- between two counts the stock is the counted one plus what has moved since
levels as (
    select
        location_id,
        item_id,
        event_number,
        stock_date,
        occurred_at,
        case when next_date = stock_date then next_at end as next_at,
        pair_opening_units,
        case
            when count_number = 0 then pair_opening_units
            else max(counted_units) over (
                partition by location_id, item_id, count_number
                order by event_number
                rows between unbounded preceding and current row
            )
        end
        + sum(stock_change) over (
            partition by location_id, item_id, count_number
            order by event_number
            rows between unbounded preceding and current row
        ) as units
    from events
),

event_closings as (
    select
        location_id,
        item_id,
        stock_date,
        min(pair_opening_units) as pair_opening_units,
        max_by(units, event_number) as closing_units
    from levels
    group by location_id, item_id, stock_date
),

-- what neither came nor went and yet is there, or is not, was found by a count
event_days as (
    select
        flows.location_id,
        flows.item_id,
        flows.stock_date,
        flows.restocked_units,
        flows.sold_units,
        flows.discarded_units,
        event_closings.closing_units
        - coalesce(
            lag(event_closings.closing_units) over (
                partition by flows.location_id, flows.item_id order by flows.stock_date
            ),
            event_closings.pair_opening_units
        )
        - flows.restocked_units + flows.sold_units + flows.discarded_units as adjusted_units,
        flows.first_event_at,
        flows.last_event_at
    from flows
    inner join event_closings
        on
            flows.location_id = event_closings.location_id
            and flows.item_id = event_closings.item_id
            and flows.stock_date = event_closings.stock_date
),

dense_days as (
    select
        pair_days.location_id,
        pair_days.item_id,
        pair_days.stock_date,
        pair_days.pair_opening_units,
        coalesce(event_days.restocked_units, 0) as restocked_units,
        coalesce(event_days.sold_units, 0) as sold_units,
        coalesce(event_days.discarded_units, 0) as discarded_units,
        coalesce(event_days.adjusted_units, 0) as adjusted_units,
        coalesce(
            max(event_days.last_event_at) over (
                partition by pair_days.location_id, pair_days.item_id
                order by pair_days.stock_date
                rows between unbounded preceding and current row
            ),
            pair_days.pair_last_event_at
        ) as last_event_at,
        coalesce(
            max(event_days.last_event_at) over (
                partition by pair_days.location_id, pair_days.item_id
                order by pair_days.stock_date
                rows between unbounded preceding and 1 preceding
            ),
            pair_days.pair_last_event_at
        ) as earlier_event_at,
        event_days.first_event_at,
        pair_days.has_begun,
        pair_days.time_zone,
        pair_days.opens_minute,
        pair_days.closes_minute,
        pair_days.told_until_at,
        pair_days.accepted_at
    from pair_days
    left join event_days
        on
            pair_days.location_id = event_days.location_id
            and pair_days.item_id = event_days.item_id
            and pair_days.stock_date = event_days.stock_date
),

balanced as (
    select
        location_id,
        item_id,
        stock_date,
        restocked_units,
        sold_units,
        discarded_units,
        adjusted_units,
        pair_opening_units
        + sum(restocked_units - sold_units - discarded_units + adjusted_units) over (
            partition by location_id, item_id
            order by stock_date
            rows between unbounded preceding and current row
        ) as closing_units,
        last_event_at,
        earlier_event_at,
        first_event_at,
        has_begun,
        opens_minute,
        closes_minute,
        {{ utc_time(
            dbt.dateadd('minute', 'opens_minute', 'cast(stock_date as timestamp)'), 'time_zone'
        ) }} as opens_at,
        {{ utc_time(
            dbt.dateadd('minute', 'closes_minute', 'cast(stock_date as timestamp)'), 'time_zone'
        ) }} as closes_at,
        told_until_at,
        accepted_at
    from dense_days
),

opened as (
    select
        location_id,
        item_id,
        stock_date,
        closing_units - restocked_units + sold_units + discarded_units - adjusted_units
            as opening_units,
        restocked_units,
        sold_units,
        discarded_units,
        adjusted_units,
        closing_units,
        opens_minute,
        closes_minute,
        opens_at,
        least(closes_at, told_until_at) as ends_at,
        earlier_event_at,
        first_event_at,
        case when has_begun then last_event_at end as last_event_at,
        accepted_at
    from balanced
),

-- empty at opening, until the first event, and after each event that left nothing, until the next;
-- before a pair's first event nothing was on sale, so nothing was sold out
empty_spells as (
    select
        location_id,
        item_id,
        stock_date,
        opens_at as from_at,
        least(coalesce(first_event_at, ends_at), ends_at) as to_at
    from opened
    where earlier_event_at is not null and opening_units <= 0
    union all
    select
        levels.location_id,
        levels.item_id,
        levels.stock_date,
        greatest(levels.occurred_at, opened.opens_at) as from_at,
        least(coalesce(levels.next_at, opened.ends_at), opened.ends_at) as to_at
    from levels
    inner join opened
        on
            levels.location_id = opened.location_id
            and levels.item_id = opened.item_id
            and levels.stock_date = opened.stock_date
    where levels.units <= 0
),

empty_days as (
    select
        location_id,
        item_id,
        stock_date,
        sum({{ dbt.datediff('from_at', 'to_at', 'millisecond') }}) as empty_milliseconds
    from empty_spells
    where from_at < to_at
    group by location_id, item_id, stock_date
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
        cast(coalesce(empty_days.empty_milliseconds, 0) / 60000.0 as numeric(18, 3))
            as stocked_out_minutes,
        cast(opened.closes_minute - opened.opens_minute as integer) as open_minutes,
        empty_days.stock_date is not null as is_stocked_out,
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
