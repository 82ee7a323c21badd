"""The commands that send records to a running collector, and the sample network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from larder.cli.group import DONE, FAILED, larder, messages, now, output
from larder.errors import UsageError
from larder.reporting import Reporter
from larder.settings import Settings

if TYPE_CHECKING:
    from loaders.sample.options import SampleOptions
    from loaders.sending.client import Client
    from loaders.sending.pacing import Sending

COLLECTOR = "http://127.0.0.1:8470"
to_option = click.option("--to", "url", default=COLLECTOR, show_default=True, help="The collector.")


class Speed(click.ParamType[float]):
    """A factor, or `max` for as fast as the collector takes it, which is 0."""

    name = "factor"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the factor."""
        try:
            factor = 0.0 if value == "max" else float(str(value))
        except ValueError:
            factor = -1.0
        if not 0 <= factor < float("inf"):
            self.fail(f"{value} is neither a factor such as 60 nor max.", param, ctx)
        return factor


@larder.command()
@click.option("--days", default=200, show_default=True, help="Days of history.")
@click.option("--locations", default=35, show_default=True, help="Places that sell.")
@click.option("--items-per-product", default=8, show_default=True, help="Meals per bakery product.")
@click.option("--seed", default=7, show_default=True, help="Same seed, same bytes.")
@click.option("--scale", default=1.0, show_default=True, help="Demand, as a multiple.")
@click.option(
    "--recent-days", default=28, show_default=True, help="Newest days with trips and menu clicks."
)
@click.option("--live", "is_live", is_flag=True, help="Send vans and guests to a collector.")
@click.option("--seconds", type=click.FloatRange(min=0), help="With --live: for so long.")
@click.option("--speed", type=Speed(), help="With --live: so much faster than real; 1 or more.")
@to_option
@click.pass_obj
def sample(
    settings: Settings,
    days: int,
    locations: int,
    items_per_product: int,
    seed: int,
    scale: float,
    recent_days: int,
    is_live: bool,
    seconds: float | None,
    speed: float | None,
    url: str,
) -> int:
    """Write the sample network into the landing zone; with --live send it as if now instead.

    A live sample writes only what its events refer to: places, items, days and geofences.
    """
    from loaders.sample.network import SampleOptions, write_sample_network

    if not is_live and not (speed is None and seconds is None):
        raise UsageError("--speed and --seconds are of a live sample: give --live with them.")
    # slower than real, the stream would be ahead of the clock; as fast as can be, it has no end
    if speed is not None and speed < 1:
        raise UsageError("--speed of a live sample is a factor of 1 or more, such as 10.")
    options = SampleOptions(days, locations, items_per_product, seed, scale, recent_days)
    if is_live:
        return _send_live(settings, options, speed or 1.0, seconds, url)
    with Reporter(messages) as reporter:
        made = write_sample_network(
            settings.landing_folder, settings.truth_folder, options, reporter.start("sample")
        )
    if made.was_there:
        output.print(f"The sample network is already in {settings.landing_folder}.")
    else:
        output.print(
            f"{made.stock_events:,} stock events from {made.first_date} to {made.last_date} in "
            f"{made.files} files below {settings.landing_folder}; the planted truth is in "
            f"{settings.truth_folder}.",
            highlight=False,
            soft_wrap=True,
        )
    return DONE


def _send_live(
    settings: Settings, options: SampleOptions, speed: float, seconds: float | None, url: str
) -> int:
    from larder.stopping import stopping_on_signals
    from loaders.sample.live import live_sample
    from loaders.sending.live import read_live, send_live

    client = _client(settings, url)
    with Reporter(messages) as reporter:
        progress = reporter.start("sample")
        with live_sample(settings.landing_folder, options, progress) as landing:
            streams = read_live(landing)
    output.print(f"Vans and guests send to {url}; Ctrl-C ends it.", highlight=False)
    with stopping_on_signals() as stopping:
        _print_sent(send_live(streams, client, speed, seconds, now, stopping))
    return DONE


@larder.command("replay")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    show_default=True,
    help="As a multiple of their own pace; max (or 0): as fast as the collector takes it.",
)
@click.option(
    "--longest-pause",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds after which the next record is sent, however far off it is.",
)
@click.option("--entity", help="What the files hold, where their folders do not say so.")
@to_option
@click.pass_obj
def replay_command(
    settings: Settings,
    files: tuple[Path, ...],
    speed: float,
    longest_pause: float,
    entity: str | None,
    url: str,
) -> int:
    """Send landing files, or folders of them, to a collector, at the pace of their records.

    The key is the first of LARDER_API_KEYS that may send them; trips are signed where
    LARDER_RADAR_SECRET is set. What is not acknowledged is sent again.
    """
    from larder.stopping import stopping_on_signals
    from loaders.sending.replaying import replay

    def say(line: str) -> None:
        messages.print(line, highlight=False, soft_wrap=True)

    client = _client(settings, url)
    with stopping_on_signals() as stopping:
        done = replay(settings, client, files, speed, longest_pause, entity, say, stopping)
        _print_sent(done)
    if not done.is_whole:
        say("Stopped before all was sent; sent again, what was taken counts once.")
        return FAILED
    return DONE


def _client(settings: Settings, url: str) -> Client:
    from loaders.sending.client import Client

    return Client(
        url,
        settings.api_keys.get_secret_value() if settings.api_keys else "",
        settings.radar_secret.get_secret_value().encode() if settings.radar_secret else None,
    )


def _print_sent(done: Sending) -> None:
    for path, sent in sorted(done.sent.items()):
        output.print(
            f"{path}: {sent.records:,} sent, {sent.accepted:,} accepted, "
            f"{sent.rejected:,} rejected",
            highlight=False,
        )
    if done.left_out:
        output.print(
            f"{done.left_out:,} lines were left out: they are no UTF-8, broken CSV, or longer than "
            "1 MiB.",
            highlight=False,
        )
