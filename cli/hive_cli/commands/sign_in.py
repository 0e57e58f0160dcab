"""`hive sign-in`."""

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import print_json, say


@command("sign-in", example="hive sign-in")
@json_option
def sign_in(*, as_json: bool) -> None:
    """Print a new sign-in link for the dashboard. It works once, within 15 minutes."""
    link = hive_client().post("/api/v1/sign-in-links").data
    if as_json:
        print_json(link)
    else:
        say(link["url"])
