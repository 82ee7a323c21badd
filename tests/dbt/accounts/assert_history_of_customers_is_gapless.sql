-- each row of a customer ends where the next begins, and only the last has no end
with customers as (
    select
        customer_key,
        is_current,
        valid_from,
        valid_to,
        lead(valid_from) over (partition by customer_key order by valid_from) as next_from
    from {{ ref('dim_customers') }}
)

select
    customer_key,
    valid_from
from customers
where
    coalesce(valid_to, cast('9999-12-01' as date))
    != coalesce(next_from, cast('9999-12-01' as date))
    or is_current != (next_from is null)
    or valid_to <= valid_from
