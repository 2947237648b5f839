"""What looks like a secret is masked; what only sounds like one stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_utils.report.mask import MASK, mask, mask_diff, masked

# Made up; in the form that developer.webex.com hands out.
TOKEN = "OWNhYjE3MzQtN2E4Yi00ZDI1LThmZjAtYmQ0ZTFjY2E3ZDk1NzY2_PF84_1eb65fdf-9643-417f-9974-ad72cae0e10f"
PERSONAL = "ZDQ1NzE0MjktOTk5MC00Y2IyLWE5NDUtZjQ5YmU2M2I1YWU1ZTIwN2E5MjQtMTFl"

SECRETS = {
    "a Webex token in a message": (f"401 for {TOKEN}: not valid", TOKEN),
    "a token without its ending": (f"got {PERSONAL} from the environment", PERSONAL),
    "a token in lower case": ("key 0k3j2h1g9f8d7s6a5p4o3i2u1y0t9r8e7w", "0k3j2h1g9f8d7s6a5p4o3i2u1y0t9r8e7w"),
    "a Bearer value": ("Authorization: Bearer abcdefghij", "abcdefghij"),
    "a Bearer value in lower case": ("headers: {'authorization': 'bearer short-token.x'}", "short-token"),
    "a Basic value": ("Authorization: Basic dmluYXk6aHVudGVyMg==", "dmluYXk6aHVudGVyMg"),
    "a literal in a source": ('+    access_token="hunter2",', "hunter2"),
    "a literal in a mapping": ("{'webex_bot_token': 'hunter2'}", "hunter2"),
    "an f-string": ("password = f'hunter2{x}'", "hunter2"),
    "an environment file": ("+WEBEX_TOKEN=hunter2hunter2", "hunter2"),
    "an exported variable": ("export API_KEY=hunter2hunter2", "hunter2"),
    "a YAML value": ("  client_secret: hunter2hunter2", "hunter2"),
    "a unit's environment": ("+Environment=PROXY=http://proxy:8080 MODE=quiet", "8080"),
    "a unit's quoted environment": ('Environment="GREETING=hello world"', "world"),
    "a password in a URL": ("proxy https://vinay:hunter2@proxy.example:8080/ refused", "hunter2"),
    "a password alone in a URL": ("redis://:hunter2@cache/0", "hunter2"),
    "a JSON web token": ("jwt eyJhbGciOiJub25l.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJzdWIiOiIxMjM0In0"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\ndef\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
    "a quoted Base64 literal": ("KEY = 'q83vASNFZ4mrze8+BI0VniavN7/wEjRW'", "q83vASNFZ4mrze8"),
    "a quoted Base64 literal with its padding": ('key("q83vASNFZ4mrze8BI0VniavN7wEjRQ==")', "q83vASNFZ4mrze8"),
    "a password without a scheme": ("Cannot connect to proxy vinay:hunter2@proxy.example:8080", "hunter2"),
    "an option of one letter": ("ExecStart=/x/python webex_bots/jarvis.py -t hunter2 -v", "hunter2"),
    "an option of one letter in a list": ("['python', 'bot.py', '-t', 'hunter2']", "hunter2"),
    "an option with its value": ("nohup python bot.py --webex-token=hunter2", "hunter2"),
    "an option before its value": ("nohup python bot.py --password hunter2 --debug", "hunter2"),
    "an option in JSON": ('{"argv": ["bot.py", "--api-key", "hunter2"]}', "hunter2"),
    "a private key cut short": ("-----BEGIN PRIVATE KEY-----\nMIIEabc\ndef", "MIIEabc"),
}

HARMLESS = (
    "webex_api = configure_webex_api_session(WebexTeamsAPI(access_token=CONFIG.webex_bot_access_token_jarvis))",
    "token = os.environ['WEBEX_TOKEN']",
    "sha256 3f2a91c07be43f2a91c07be43f2a91c07be43f2a91c07be43f2a91c07be4abcd",
    "commit 5aae13b0c4d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5",
    "device 1eb65fdf-9643-417f-9974-ad72cae0e10f",
    "HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out. (read timeout=60)",
    "/etc/systemd/system/webex-bot@jarvis.service.d/10-bot.conf",
    "# the bearer of bad news",
    "test_a_bot_that_runs_under_2_units_is_refused_with_both_of_their_names",
    "EnvironmentFile=-/etc/webex-bots/jarvis.env",
    "webex-pool ready pid=4711 session=bot.session pool_connections=50 keepalive=60/10/3",
    "https://webexapis.com/v1/messages?max=50",
    "python webex_bots/jarvis.py -t --verbose",
    "unit webex-bot@jarvis.service on vinay@vm1:22, git@host:project",
    "parser.add_argument('-t', '--timeout')",
    'URL = f"{user}:{password}@{host}"',
    "LD = 'LD_LIBRARY_PATH=/usr/local/lib/python3/site'",
    "path = '/usr/local/lib/python3/distpackages/webexteamssdk/api'",
)


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_masked(text: str, secret: str) -> None:
    assert secret not in mask(text)
    assert MASK in mask(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_what_surrounds_a_secret_stays() -> None:
    assert mask(f"GET /v1/messages with Bearer {TOKEN} gave 401") == f"GET /v1/messages with Bearer {MASK} gave 401"
    assert mask("Environment=A=1 B=2").count(MASK) == 2
    assert mask("Environment=A=1 B=2").startswith("Environment=A=")


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS.keys())
def test_masking_twice_is_masking_once(text: str, secret: str) -> None:
    assert mask(mask(text)) == mask(text)


def test_everything_within_plain_data_is_masked() -> None:
    data = {"a": [{"b": (TOKEN, 1, None, True, 2.5)}], TOKEN: "key"}
    assert masked(data) == {"a": [{"b": [MASK, 1, None, True, 2.5]}], MASK: "key"}


def test_both_sides_of_a_diff_are_masked() -> None:
    entry = {
        "before": f"key = '{TOKEN}'\nsame\n",
        "after": f"-----BEGIN PRIVATE KEY-----\n{TOKEN}\nMIIEabc\n-----END PRIVATE KEY-----\n",
        "before_header": f"/x/{TOKEN}",
        "after_header": "a.py (patched)",
        "dst_larger": 104448,
    }
    assert mask_diff(entry) == {
        "before": f"key = '{MASK}'\nsame\n",
        "after": f"-----BEGIN PRIVATE KEY----- {MASK}\n",
        "before_header": f"/x/{MASK}",
        "after_header": "a.py (patched)",
        "dst_larger": 104448,
    }


def test_a_diff_of_attributes_and_one_that_a_module_prepared_are_masked() -> None:
    entry = {"before": {"client_secret": "hunter2"}, "after": None, "prepared": "+export API_KEY=hunter2hunter2\n"}
    assert mask_diff(entry) == {
        "before": f'{{\n  "client_secret": "{MASK}"\n}}',
        "after": "",
        "prepared": f"+export API_KEY={MASK}\n",
    }


@given(st.text(alphabet="abcXYZ019_-. =\"'\n:", max_size=60), st.text(alphabet=" \n\"'(),;:", min_size=1, max_size=3))
def test_a_token_is_masked_wherever_it_stands(around: str, border: str) -> None:
    assert TOKEN not in mask(f"{around}{border}{TOKEN}{border}{around}")
