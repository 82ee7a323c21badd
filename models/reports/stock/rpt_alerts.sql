-- one row per thing that somebody should do something about now; an alert goes away with its cause
-- each step imports the stock days for itself: DuckDB copies what is used twice
with location_days as (
    select as_of_at
    from {{ ref('int_clock__location_days') }}
),

places as (
    select *
    from {{ ref('int_stock__places_now') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

stock_now as (
    select *
    from {{ ref('int_stock__stock_now') }}
),

units_held as (
    select *
    from {{ ref('int_stock__units_held') }}
),

monitoring as (
    select *
    from {{ ref('ml_monitoring') }}
),

models as (
    select *
    from {{ ref('ml_models') }}
),

-- what is past its last day is one lot, however many days it came from
lots as (
    select
        stock_now.location_id,
        stock_now.item_id,
        greatest(units_held.expires_on, stock_now.local_date - 1) as sold_until,
        min(units_held.expires_on) as expires_on,
        sum(cast(units_held.units as double)) as lot_units
    from units_held
    inner join stock_now
        on
            units_held.location_id = stock_now.location_id
            and units_held.item_id = stock_now.item_id
            and units_held.as_of_date = stock_now.as_of_date
    where units_held.expires_on <= stock_now.as_of_date + {{ var('expiring_days') }}
    group by
        stock_now.location_id,
        stock_now.item_id,
        greatest(units_held.expires_on, stock_now.local_date - 1)
),

expiring_lots as (
    select
        stock_now.*,
        lots.expires_on,
        sum(lots.lot_units) over (
            partition by lots.location_id, lots.item_id
            order by lots.sold_until
            rows between unbounded preceding and current row
        ) as units_held,
        case
            when lots.sold_until < stock_now.local_date then 0
            else
                stock_now.minutes_left_today
                + stock_now.open_minutes * (lots.sold_until - stock_now.local_date)
        end as minutes_left
    from lots
    inner join stock_now
        on
            lots.location_id = stock_now.location_id
            and lots.item_id = stock_now.item_id
),

unsold_lots as (
    select
        *,
        units_a_minute * minutes_left as usual_units,
        -- whole units, and no more than there are
        floor(
            least(
                greatest(units_held - greatest(units_gone_today, 0), 0), units
            ) - units_a_minute * minutes_left
            + 0.000001
        ) as unsold_units
    from expiring_lots
),

expiring as (
    select
        'expiring' as alert_kind,
        location_id,
        item_id,
        unsold_units as quantity,
        case
            when expires_on <= as_of_date and minutes_left = 0
                then 'Take out ' || {{ short_number('unsold_units') }} || ' x ' || item_name
            else
                'Lower the price of ' || {{ short_number('unsold_units') }} || ' x ' || item_name
                || ', or move them to where they are sold'
        end as action,
        case
            when expires_on <= as_of_date and minutes_left = 0
                then
                    {{ short_number('unsold_units') }} || ' there should be past the last day of '
                    || 'sale, the first since ' || cast(expires_on as varchar)
                    || ', and no discard was reported'
            else
                {{ short_number('units_held') }} || ' must be sold by '
                || cast(expires_on as varchar) || ', and usually about '
                || {{ short_number('usual_units') }} || ' are sold until then'
        end as reason,
        case
            when expires_on <= as_of_date then as_of_at
            else {{ utc_time(
                dbt.dateadd('minute', 'closes_minute', 'cast(expires_on as timestamp)'),
                'time_zone'
            ) }}
        end as deadline_at
    from unsold_lots
    where unsold_units >= 1
    qualify row_number() over (
        partition by location_id, item_id order by expires_on
    ) = 1
),

-- how long the stock lasts, and how many units are missing when the next delivery comes
running_out as (
    select
        *,
        units / units_a_minute as minutes_of_stock,
        units_a_minute * minutes_to_cover - units as missing_units
    from stock_now
    where units_a_minute > 0
),

dated_run_outs as (
    select
        *,
        case
            when minutes_of_stock <= minutes_left_today
                then greatest(minute_of_day, opens_minute) + minutes_of_stock
            else
                1440 * (1 + floor((minutes_of_stock - minutes_left_today) / open_minutes))
                + opens_minute
                + (minutes_of_stock - minutes_left_today)
                - open_minutes * floor((minutes_of_stock - minutes_left_today) / open_minutes)
        end as run_out_minute
    from running_out
    where minutes_of_stock < minutes_to_cover and missing_units >= {{ var('selling_out_units') }}
),

selling_out as (
    select
        'selling_out' as alert_kind,
        location_id,
        item_id,
        units as quantity,
        'Bring ' || {{ short_number('ceil(missing_units)') }} || ' x ' || item_name as action,
        case
            when units = 0 then 'Sold out'
            else
                {{ short_number('units') }} || ' left, enough for about '
                || {{ short_number('minutes_of_stock / 60.0') }} || ' hours'
        end
        || '; usually ' || {{ short_number('units_a_minute * minutes_to_cover') }}
        || ' are sold in the ' || {{ short_number('minutes_to_cover / 60.0') }}
        || ' hours of opening to look after' as reason,
        {{ utc_time(
            dbt.dateadd(
                'minute', 'cast(floor(run_out_minute) as integer)', 'cast(local_date as timestamp)'
            ),
            'time_zone'
        ) }} as deadline_at
    from dated_run_outs
),

newest_events as (
    select
        stock_days.location_id,
        max(stock_days.last_event_at) as last_event_at
    from {{ ref('fct_stock_days') }} as stock_days
    inner join places
        on
            stock_days.location_id = places.location_id
            and stock_days.stock_date = places.local_date
    group by stock_days.location_id
),

silences as (
    select
        places.location_id,
        places.location_name,
        places.status,
        places.next_closing_at,
        {{ dbt.datediff('newest_events.last_event_at', 'places.as_of_at', 'minute') }}
            as silent_minutes
    from newest_events
    inner join places on newest_events.location_id = places.location_id
),

stale_feed as (
    select
        'stale_feed' as alert_kind,
        location_id,
        cast(null as varchar) as item_id,
        cast(floor(silent_minutes / 60.0) as double) as quantity,
        'Check the connection of ' || location_name
        || ': until it reports again, its stock is a guess' as action,
        'Nothing heard for ' || {{ short_number('floor(silent_minutes / 60.0)') }}
        || ' hours; its status is ' || status as reason,
        next_closing_at as deadline_at
    from silences
    where silent_minutes > {{ var('stale_feed_hours') }} * 60
),

-- of the newest day that has closed and the one that has not
count_gaps as (
    select
        stock_days.location_id,
        stock_days.item_id,
        coalesce(items.item_name, stock_days.item_id) as item_name,
        places.next_closing_at,
        cast(stock_days.adjusted_units as double) as adjusted_units,
        stock_days.stock_date
    from {{ ref('fct_stock_days') }} as stock_days
    inner join places
        on
            stock_days.location_id = places.location_id
            and stock_days.stock_date >= places.as_of_date
            and stock_days.stock_date <= places.local_date
    left join items on stock_days.item_id = items.item_id
    where abs(stock_days.adjusted_units) > {{ var('count_gap_units') }}
    qualify row_number() over (
        partition by stock_days.location_id, stock_days.item_id
        order by abs(stock_days.adjusted_units) desc, stock_days.stock_date desc
    ) = 1
),

count_gap as (
    select
        'count_gap' as alert_kind,
        location_id,
        item_id,
        adjusted_units as quantity,
        'Count ' || item_name || ' again, and look for '
        || case
            when adjusted_units < 0 then 'sales, waste or theft that nobody reported'
            else 'a delivery that nobody reported'
        end as action,
        'The count of ' || cast(stock_date as varchar) || ' found '
        || {{ short_number('abs(adjusted_units)') }}
        || case when adjusted_units < 0 then ' fewer' else ' more' end
        || ' than there should have been' as reason,
        next_closing_at as deadline_at
    from count_gaps
),

-- of the models that serve: what an earlier one was told of is nobody's trouble any more; risk and
-- orders each have one, and the name of a model begins with which of them it scores
newest_signals as (
    select monitoring.*
    from monitoring
    inner join models
        on
            monitoring.model_name = models.model_name
            and monitoring.model_version = models.model_version
    qualify rank() over (
        partition by split_part(monitoring.model_name, '_', 1)
        order by monitoring.as_of_date desc, models.data_until desc, models.trained_at desc
    ) = 1
),

-- one alert a model, of the signal that is furthest beyond its threshold
drifts as (
    select
        *,
        count(*) over (partition by model_name) - 1 as other_alarms
    from newest_signals
    where is_alarm
    qualify row_number() over (
        partition by model_name
        order by abs(value - threshold) / threshold desc, signal
    ) = 1
),

as_of as (
    select max(as_of_at) as as_of_at
    from location_days
),

model_drift as (
    select
        'model_drift' as alert_kind,
        cast(null as varchar) as location_id,
        cast(null as varchar) as item_id,
        drifts.value as quantity,
        'Look for what has changed before trusting the numbers of ' || drifts.model_name
        || '; ml_monitoring has every signal, and a coming run trains a model anew if the history '
        || 'is long enough' as action,
        drifts.model_name || ': ' || drifts.signal || ' of the last weeks is '
        || cast(cast(drifts.value as numeric(18, 3)) as varchar) || ', the threshold is '
        || cast(cast(drifts.threshold as numeric(18, 3)) as varchar)
        || case
            when drifts.other_alarms = 0 then ''
            else '; ' || cast(drifts.other_alarms as varchar) || ' more beyond theirs'
        end as reason,
        as_of.as_of_at as deadline_at
    from drifts
    cross join as_of
),

all_alerts as (
    select * from expiring
    union all
    select * from selling_out
    union all
    select * from stale_feed
    union all
    select * from count_gap
    union all
    select * from model_drift
),

alerts as (
    select
        alert_kind,
        location_id,
        item_id,
        cast(quantity as numeric(18, 3)) as quantity,
        action,
        reason,
        deadline_at
    from all_alerts
)

select *
from alerts
