-- one row per accepted record of trips/trip_events, in one shape, whatever shape it came in; what
-- was delivered twice is here twice: the next layer removes it, where only new records are seen
-- where each thing stands in a body is said in loaders/entities.yml, in this order
{% set places = {
    'driver_id': [
        'driver_id',
        '_id',
        'event.user._id',
        'user._id'
    ],
    'account_id': [
        'account_id',
        'MMUserId',
        'event.user.MMUserId',
        'user.MMUserId'
    ],
    'trip_account_id': [
        'trip_account_id',
        'trip.MMUserId',
        'event.user.trip.MMUserId',
        'user.trip.MMUserId'
    ],
    'trip_id': [
        'trip_id',
        'trip._id',
        'event.user.trip._id',
        'user.trip._id'
    ],
    'trip_external_id': [
        'trip_external_id',
        'trip.externalId',
        'event.user.trip.externalId',
        'user.trip.externalId'
    ],
    'route_session_id': [
        'route_session_id',
        'trip.metadata.route_session_id',
        'event.user.trip.metadata.route_session_id',
        'user.trip.metadata.route_session_id'
    ],
    'geofence_id': [
        'geofence_id',
        'geofence.externalId',
        'event.geofence.externalId',
        'geofence._id',
        'event.geofence._id'
    ],
    'event_type': [
        'event_type',
        'type',
        'event.type'
    ],
    'route_session_type': [
        'route_session_type',
        'trip.metadata.route_session_type',
        'event.user.trip.metadata.route_session_type',
        'user.trip.metadata.route_session_type'
    ],
    'latitude': [
        'latitude',
        'location.coordinates.latitude',
        'event.location.coordinates.latitude',
        'location.coordinates[1]',
        'event.location.coordinates[1]'
    ],
    'longitude': [
        'longitude',
        'location.coordinates.longitude',
        'event.location.coordinates.longitude',
        'location.coordinates[0]',
        'event.location.coordinates[0]'
    ],
    'is_live': [
        'is_live',
        'live',
        'event.live'
    ],
    'occurred_at': [
        'occurred_at',
        'created_at',
        'event.createdAt'
    ],
    'trip_created_at': [
        'trip_created_at',
        'trip.createdAt',
        'event.user.trip.createdAt',
        'user.trip.createdAt'
    ],
    'trip_updated_at': [
        'trip_updated_at',
        'trip.updatedAt',
        'event.user.trip.updatedAt',
        'user.trip.updatedAt'
    ],
    'trip_started_at': [
        'trip_started_at',
        'trip.startedAt',
        'event.user.trip.startedAt',
        'user.trip.startedAt'
    ]
} -%}
{% set among = places.values() | sum(start=[]) -%}

{% set persons = [
    ('driver_id', 'driver_token'),
    ('account_id', 'account_token'),
    ('trip_account_id', 'trip_account_token')
] -%}

with records as (
    select
        {{ json_texts('payload', among) }} as body,
        unreadable_fields,
        natural_key,
        content_hash,
        segment,
        received_at,
        loaded_at,
        accepted_at,
        driver_token,
        account_token,
        trip_account_token
    from {{ source('trips', 'trip_events') }}
),

typed as (
    select
        driver_token,
        account_token,
        trip_account_token,
        -- null where a record has no id and its content stands for one
        nullif(natural_key, content_hash) as own_id,
        {{ json_text('body', places.driver_id, among=among) }} as driver_id,
        {{ json_text('body', places.account_id, among=among) }} as account_id,
        {{ json_text('body', places.trip_account_id, among=among) }} as trip_account_id,
        {{ json_text('body', places.trip_id, among=among) }} as trip_id,
        {{ json_text('body', places.trip_external_id, among=among) }} as trip_external_id,
        {{ json_text('body', places.route_session_id, among=among) }} as route_session_id,
        {{ json_text('body', places.geofence_id, among=among) }} as geofence_id,
        {{ json_text('body', places.event_type, among=among) }} as event_type,
        {{ json_text('body', places.route_session_type, among=among) }} as route_session_type,
        {{ try_read(json_text('body', places.latitude, among=among), 'number') }} as latitude,
        {{ try_read(json_text('body', places.longitude, among=among), 'number') }} as longitude,
        {{ try_read(json_text('body', places.is_live, among=among), 'boolean') }} as is_live,
        natural_key != content_hash as has_own_id,
        {{ try_read(
            json_text('body', places.occurred_at, among=among), 'timestamp'
        ) }} as occurred_at,
        {{ try_read(
            json_text('body', places.trip_created_at, is_checked=true, among=among), 'timestamp'
        ) }} as trip_created_at,
        {{ try_read(
            json_text('body', places.trip_updated_at, is_checked=true, among=among), 'timestamp'
        ) }} as trip_updated_at,
        {{ try_read(
            json_text('body', places.trip_started_at, is_checked=true, among=among), 'timestamp'
        ) }} as trip_started_at,
        content_hash,
        segment,
        received_at,
        loaded_at as processed_at,
        accepted_at
    from records
),

-- the ids of people end here, also those that a sender wrote into other fields
without_ids as (
    select
        driver_token,
        account_token,
        trip_account_token,
        {% for text in [
            'own_id',
            'trip_id',
            'trip_external_id',
            'route_session_id',
            'geofence_id',
            'event_type',
            'route_session_type'
        ] -%}
        {{ pseudonymised(text, persons) }} as {{ text }},
        {% endfor -%}
        latitude,
        longitude,
        is_live,
        has_own_id,
        occurred_at,
        trip_created_at,
        trip_updated_at,
        trip_started_at,
        content_hash,
        segment,
        received_at,
        processed_at,
        accepted_at
    from typed
),

-- A record without an id has its content for a key, which a guess of the driver could be checked
-- with; here it is named by what may be published of it. Said without a case, as DuckDB would read
-- the body anew for each column in its branches.
named as (
    select
        driver_token,
        account_token,
        trip_account_token,
        coalesce(
            own_id,
            md5(
                coalesce(driver_token, '') || '|' || coalesce(account_token, '') || '|'
                || coalesce(trip_account_token, '') || '|' || coalesce(trip_id, '') || '|'
                || coalesce(geofence_id, '') || '|' || event_type || '|'
                || cast({{ dbt.datediff(
                    "cast('1970-01-01' as timestamp)", 'occurred_at', 'millisecond'
                ) }} as varchar) -- noqa: LT05
                || '|' || coalesce(
                    cast(cast(cast(latitude as numeric(38, 6)) * 1000000 as bigint) as varchar), ''
                )
                || '|' || coalesce(
                    cast(cast(cast(longitude as numeric(38, 6)) * 1000000 as bigint) as varchar), ''
                )
            )
        ) as event_id,
        trip_id,
        trip_external_id,
        route_session_id,
        geofence_id,
        event_type,
        route_session_type,
        latitude,
        longitude,
        is_live,
        has_own_id,
        occurred_at,
        trip_created_at,
        trip_updated_at,
        trip_started_at,
        content_hash,
        segment,
        received_at,
        processed_at,
        accepted_at
    from without_ids
)

select *
from named
