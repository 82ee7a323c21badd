"""The tables of contract section 3 that this data feeds, and the sources of section 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import pytest
from test_layers import layer, models

from larder.settings import Settings
from larder.warehouse import open_published
from loaders.entities import read_entities

Nodes = Callable[[str], list[dict[str, Any]]]

# table → columns that must be there
TABLES = {
    "dim_items": "item_id item_name category tags allergens price_usd unit_cost_usd "
    "disposal_cost_usd shelf_life_days pack_size order_lead_hours kitchen_id updated_at",
    "dim_locations": "location_id location_name kind status latitude longitude region time_zone "
    "population route_id capacity_units restock_weekdays opened_on updated_at",
    "dim_dates": "calendar_date is_holiday is_school_holiday rain_millimetres temperature_celsius",
    "dim_region_dates": "region calendar_date is_holiday is_school_holiday rain_millimetres "
    "temperature_celsius",
    "dim_customers": "customer_key age_group sex region community_id is_family_member "
    "family_joined_on valid_from valid_to is_current",
    "fct_sales": "sale_key sold_at location_id item_id customer_key basket_key quantity "
    "amount_usd margin_usd is_promoted channel",
    "fct_orders": "order_line_key order_id location_id item_id customer_key quantity channel "
    "status ordered_at picked_up_at cancelled_at",
    "fct_stock_days": "location_id item_id stock_date opening_units restocked_units sold_units "
    "discarded_units adjusted_units closing_units is_stocked_out stocked_out_minutes "
    "last_event_at",
    "fct_waste": "waste_key discarded_at location_id item_id quantity reason waste_cost_usd",
    "rpt_waste_and_availability": "scope scope_id item_id period period_start sold_units "
    "sales_usd wasted_units waste_cost_usd stocked_out_share lost_units_estimate "
    "lost_margin_usd",
    "rpt_alerts": "alert_kind location_id item_id quantity deadline_at action reason",
    "rpt_order_plan": "kitchen_id route_id location_id item_id order_date planned_units "
    "delivered_units sold_units wasted_units expected_cost_usd "
    "cost_against_previous_policy_usd",
    "rpt_geo_outlook": "region item_id as_of_date population popularity_score "
    "waste_probability order_quantity trend_index",
    "rpt_item_popularity": "scope scope_id period period_start item_id units popularity_score "
    "popularity_rank is_top_decile top_decile_threshold",
    "rpt_family_growth": "scope scope_id period period_start new_members members left_members "
    "is_suppressed",
    "dim_geofences": "geofence_id geofence_name location_id centre radius_metres polygon "
    "updated_at",
    "fct_trip_events": "event_id occurred_at event_type is_live account_key driver_key trip_id "
    "trip_external_id trip_account_key trip_created_at trip_updated_at trip_started_at latitude "
    "longitude route_session_type route_session_id received_at processed_at process_hour "
    "position_flag",
    "fct_trips": "trip_id driver_key started_at ended_at event_count distance_metres "
    "duration_seconds max_speed_kmh",
    "fct_geofence_visits": "trip_id geofence_id location_id entered_at exited_at dwell_seconds "
    "evidence",
    "fct_menu_events": "menu_event_key occurred_at session_key location_id visitor_key kind "
    "item_id section position dwell_seconds",
    "fct_menu_sessions": "session_key location_id visitor_key customer_key started_at ended_at "
    "last_event_at is_active menu_open_count item_view_count item_skip_count item_add_count "
    "viewed_item_ids has_order",
    "rpt_menu_items": "location_id section item_id position period period_start view_count "
    "skip_count mean_dwell_seconds add_count order_count order_rate",
    "ml_waste_probabilities": "location_id item_id as_of_date horizon_days waste_probability "
    "expected_wasted_units reasons model_version scored_at",
    "ml_order_quantities": "location_id item_id as_of_date order_date order_quantity "
    "critical_ratio demand_p10 demand_p50 demand_p90 expected_cost_usd reasons model_version "
    "scored_at",
    "ml_models": "model_name model_version trained_at data_until parameters artefact_hash "
    "is_promoted decision",
    "ml_evaluations": "model_name model_version evaluated_at metric value baseline_name "
    "baseline_value observations",
    "ml_monitoring": "model_name model_version as_of_date signal value threshold is_alarm",
}
PERSONAL = {
    "customer_id", "customer_token", "full_name", "email", "phone", "birth_date", "postcode",
    "dietary_preferences", "comment", "registered_at", "content_hash", "segment", "source_file",
}  # fmt: skip
TYPES = {
    "varchar": "VARCHAR",
    "double": "DOUBLE",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "numeric(18, 3)": "DECIMAL(18,3)",
    "numeric(18, 4)": "DECIMAL(18,4)",
}


@pytest.mark.parametrize("table", TABLES)
def test_the_contracts_tables_and_columns_are_described(table: str, nodes: Nodes) -> None:
    described = dict(models(nodes))
    assert table in described
    missing = set(TABLES[table].split()) - described[table]["columns"].keys()
    assert not missing, f"{table} does not describe {sorted(missing)}"


@pytest.fixture(scope="module")
def published(built_home: Settings) -> dict[str, dict[str, str]]:
    """Table → column → type of what was really published."""
    with open_published(built_home) as connection:
        rows = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            "where table_schema = 'marts'"
        ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, data_type in rows:
        tables.setdefault(table, {})[column] = data_type
    return tables


@pytest.mark.parametrize("table", TABLES)
def test_the_contracts_tables_are_published(
    table: str, published: dict[str, dict[str, str]]
) -> None:
    assert table in published
    missing = set(TABLES[table].split()) - published[table].keys()
    assert not missing, f"{table} lacks {sorted(missing)}"


def test_what_is_published_is_what_is_described(
    published: dict[str, dict[str, str]], nodes: Nodes
) -> None:
    """Types too: dbt enforces them on SQL models only, so this is the contract of Python ones."""
    wrong = []
    for name, node in models(nodes):
        if layer(node) not in ("facts", "dimensions", "scores", "reports"):
            continue
        if name not in published:
            wrong.append(f"{name} is not published")
            continue
        described = {
            column: TYPES.get(str(entry["data_type"]).lower(), str(entry["data_type"]))
            for column, entry in node["columns"].items()
        }
        different = dict(described.items() ^ published[name].items())
        wrong += [
            f"{name}.{column}: described {described.get(column)}, is {published[name].get(column)}"
            for column in different
        ]
    assert not wrong, "\n".join(wrong)
    extra = published.keys() - {name for name, _ in models(nodes)}
    assert not extra, f"published without a model: {sorted(extra)}"


def test_no_personal_column_is_published(published: dict[str, dict[str, str]]) -> None:
    found = [
        f"{table}.{column}"
        for table, columns in published.items()
        for column in columns
        if column in PERSONAL or column.endswith("_token")
    ]
    assert not found


def test_the_sources_are_the_entities(manifest: dict[str, Any]) -> None:
    sources = {
        f"{source['source_name']}/{source['name']}": source
        for source in manifest["sources"].values()
        if source["source_meta"].get("is_landed") or source["config"]["meta"].get("is_landed")
    }
    entities = read_entities()
    assert sources.keys() == entities.keys()
    for path, entity in entities.items():
        source = sources[path]
        assert source["schema"] == "raw"
        assert source["identifier"] == f"{entity.source}_{entity.name}"
        assert source["freshness"]["warn_after"]["count"], path
        assert source["loaded_at_field"] == "loaded_at", path
        for part in entity.key:
            assert part in source["description"], f"{path}: the description does not name {part}"
        is_personal = any(field.personal or field.person for field in entity.fields)
        payload = source["columns"].get("payload", {"config": {}})
        flagged = payload["config"].get("meta", {}).get("personal", False)
        assert flagged == is_personal, f"{path}: payload is not flagged as entities.yml says"


def test_staging_reads_no_optional_value_that_the_loader_refused(nodes: Nodes) -> None:
    """It is counted as unreadable; read all the same it might stop a build."""
    entities = read_entities()
    wrong = []
    for name, node in models(nodes):
        if layer(node) != "staging" or name.startswith("stg_raw__"):
            continue
        entity = entities[name.removeprefix("stg_").replace("__", "/", 1)]
        unchecked = {
            field
            for arguments in re.findall(r"\bjson_text\(([^)]*)\)", node["raw_code"])
            if not re.search(r"is_checked\s*=\s*true", arguments)
            for field in re.findall(r"['\"](\w+)['\"]", arguments)
        }
        for field in entity.fields:
            is_judged = field.type in ("list", "object", "date", "timestamp") or any(
                (field.accepted, field.minimum is not None, field.maximum is not None)
            )
            if not field.required and is_judged and field.name in unchecked:
                wrong.append(f"{name} reads {field.name} unchecked")
    assert not wrong, "\n".join(wrong)


def test_staging_flags_the_personal_columns_of_the_entities(nodes: Nodes) -> None:
    entities = read_entities()
    for name, node in models(nodes):
        if layer(node) != "staging" or name.startswith("stg_raw__"):
            continue
        entity = entities[name.removeprefix("stg_").replace("__", "/", 1)]
        personal = {field.name for field in entity.fields if field.personal}
        flagged = {
            column
            for column, entry in node["columns"].items()
            if entry["config"].get("meta", {}).get("personal")
        }
        assert flagged == personal & node["columns"].keys(), name
        persons = {field.name for field in entity.fields if field.person}
        assert not persons & node["columns"].keys(), f"{name} reads the id of a person"


def test_staging_looks_for_trip_events_where_the_entity_says(nodes: Nodes) -> None:
    """There is one list of where each thing stands in the shapes of a body: that of the loader."""
    code = dict(models(nodes))["stg_trips__trip_events"]["raw_code"]
    found = re.search(r"set places = (\{.*?\n\})", code, re.DOTALL)
    assert found
    read = ast.literal_eval(found.group(1))
    said = {
        field.name: [source.removeprefix("$.") for source in field.sources]
        for field in read_entities()["trips/trip_events"].fields
        if field.name != "event_id"  # raw has its key
    }
    assert read == said
