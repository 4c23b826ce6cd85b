"""Each alert rule fires when it should and keeps still when it should, says promtool."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.metrics import ALL
from tests.prometheus.tools import ROOT, RULES, promtool, rules


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, one value a minute from the time 0 on; the minutes at
    which the alert keeps still, and at which it fires; and the labels that it then has besides its severity.
    """

    series: dict[str, str]
    quiet: int
    fires: int
    labels: str = ""


def stays(value: float, minutes: int = 200, then: float | None = None, length: int = 200) -> str:
    """A value that stays for so many values, and another one after it."""
    first = f"{value}x{minutes}"
    return first if then is None else f"{first} {then}x{length}"


_BUCKET = 'ikewarden_http_request_duration_seconds_bucket{{route="{}",le="{}"}}'
_ENDS = 'ikewarden_authority_expiry_timestamp_seconds{{authority="{}",kind="{}",status="{}"}}'
CASES: dict[str, Case] = {
    "IkewardenAbsent": Case(
        {
            "ikewarden_figures_timestamp_seconds": stays(1, 60) + " stale",
            "ikewarden_build_info": stays(1),
        },
        60,
        70,
    ),
    "IkewardenSchedulerSilent": Case(
        {
            'ikewarden_job_last_success_timestamp_seconds{name="a"}': stays(600, 100),
            'ikewarden_job_last_success_timestamp_seconds{name="b"}': stays(1200, 100),
        },
        29,
        33,
    ),
    "IkewardenJobFailing": Case(
        {
            'ikewarden_job_failing{name="a"}': stays(0, 29, 1),
            'ikewarden_job_failing{name="flaps"}': "0 1x5 0 1x5 0 1x5 0 1x5 0 1x5 0 1x5 0 1x5 0 1x5",
        },
        44,
        46,
        'name="a"',
    ),
    "IkewardenDeadLetters": Case(
        {
            'ikewarden_outbox_messages{state="dead"}': stays(0, 29, 2),
            'ikewarden_outbox_messages{state="waiting"}': stays(7),
        },
        30,
        36,
    ),
    "IkewardenOutboxWaits": Case({"ikewarden_outbox_oldest_seconds": stays(899, 29, 901)}, 29, 36),
    "IkewardenRequestsFail": Case(
        {
            'ikewarden_http_requests_total{status="200",route="a"}': "0+98x200",
            'ikewarden_http_requests_total{status="500",route="a"}': "0+1x60 60+9x200",
            'ikewarden_http_requests_total{status="404",route="a"}': "0+50x200",
        },
        60,
        80,
    ),
    "IkewardenRequestsSlow": Case(
        {
            _BUCKET.format("/v1/whoami", "1.0"): "0+99x60 5940+80x200",
            _BUCKET.format("/v1/whoami", "2.5"): "0+100x300",
            _BUCKET.format("/v1/whoami", "+Inf"): "0+100x300",
            # Waits for news, as it should.
            _BUCKET.format("/v1/gateways/self/state", "1.0"): "0+0x300",
            _BUCKET.format("/v1/gateways/self/state", "+Inf"): "0+1000x300",
        },
        60,
        90,
    ),
    "IkewardenPartRestarts": Case(
        {
            'ikewarden_process_start_time_seconds{part="api-1",instance="a"}': "1x20 2x5 3x5 4x5 5x99",
            'ikewarden_process_start_time_seconds{part="scheduler",instance="a"}': "1x20 2x99",
        },
        20,
        45,
        'part="api-1",instance="a"',
    ),
    "IkewardenFileDescriptors": Case(
        {
            'ikewarden_process_open_fds{part="api-1",instance="a"}': stays(700, 30, 900),
            'ikewarden_process_max_fds{part="api-1",instance="a"}': stays(1000),
        },
        30,
        42,
        'part="api-1",instance="a"',
    ),
    "IkewardenValidationFails": Case(
        {
            'ikewarden_validation_requests_total{kind="ocsp",status="200"}': "0+100x200",
            'ikewarden_validation_requests_total{kind="ocsp",status="tryLater"}': "0+0x60 0+9x200",
            'ikewarden_validation_requests_total{kind="ocsp",status="unauthorized"}': "0+50x200",
            'ikewarden_validation_requests_total{kind="crl",status="200"}': "0+100x200",
            'ikewarden_validation_requests_total{kind="crl",status="404"}': "0+100x200",
        },
        60,
        72,
        'kind="ocsp"',
    ),
    "IkewardenSyslogDropped": Case(
        {
            'ikewarden_syslog_dropped_total{reason="too_fast"}': "0x60 0+5x200",
            # Anybody can bring that about.
            'ikewarden_syslog_dropped_total{reason="unknown_source"}': "0+5x200",
        },
        60,
        80,
        'reason="too_fast"',
    ),
    "IkewardenAuthorityExpires": Case(
        {
            _ENDS.format("a", "root", "active"): stays(180 * 86400 + 1800),
            _ENDS.format("b", "root", "retired"): stays(30 * 86400),
        },
        80,
        92,
        'authority="a",kind="root"',
    ),
    "IkewardenAuthorityExpiresSoon": Case(
        {_ENDS.format("a", "issuing", "active"): stays(30 * 86400 + 1800)},
        35,
        42,
        'authority="a",kind="issuing"',
    ),
    "IkewardenCrlStale": Case(
        {'ikewarden_crl_next_update_timestamp_seconds{authority="a",kind="full"}': stays(3600)},
        60,
        63,
        'authority="a",kind="full"',
    ),
    "IkewardenCrlLate": Case(
        {
            'ikewarden_crl_next_update_timestamp_seconds{authority="a",kind="delta"}': stays(6000),
            'ikewarden_crl_this_update_timestamp_seconds{authority="a",kind="delta"}': stays(0),
            # Made anew at half of its life.
            'ikewarden_crl_next_update_timestamp_seconds{authority="b",kind="full"}': "6000x50 9000x50 12000x50",
            'ikewarden_crl_this_update_timestamp_seconds{authority="b",kind="full"}': "0x50 3000x50 6000x50",
        },
        80,
        93,
        'authority="a",kind="delta"',
    ),
    "IkewardenOcspSignerExpires": Case(
        {'ikewarden_ocsp_signer_expiry_timestamp_seconds{authority="a"}': stays(3 * 86400 + 1800)},
        35,
        42,
        'authority="a"',
    ),
    "IkewardenCertificatesUnrenewed": Case(
        {
            'ikewarden_certificates_unrenewed{authority="a",remaining="1d_to_7d"}': stays(0, 29, 3),
            'ikewarden_certificates_unrenewed{authority="b",remaining="1d_to_7d"}': stays(0),
        },
        80,
        92,
        'authority="a"',
    ),
    "IkewardenCertificatesEnd": Case(
        {
            'ikewarden_certificates_unrenewed{authority="a",remaining="1d_to_7d"}': stays(3),
            'ikewarden_certificates_unrenewed{authority="a",remaining="under_1d"}': stays(0, 29, 1),
        },
        35,
        42,
        'authority="a"',
    ),
    "IkewardenGatewaysSilent": Case(
        {
            'ikewarden_gateways{reach="silent"}': stays(0, 29, 1),
            'ikewarden_gateways{reach="late"}': stays(5),
        },
        35,
        42,
    ),
    "IkewardenManyGatewaysSilent": Case(
        {
            'ikewarden_gateways{reach="seen"}': stays(90),
            'ikewarden_gateways{reach="late"}': stays(5, 29, 10),
            'ikewarden_gateways{reach="silent"}': stays(4),
            'ikewarden_gateways{reach="never"}': stays(100),
        },
        29,
        36,
    ),
    "IkewardenGatewaysBehind": Case({"ikewarden_gateways_behind": stays(0, 29, 1)}, 80, 92),
    "IkewardenGatewaysDrifting": Case({"ikewarden_gateways_drifting": stays(0, 29, 1)}, 80, 92),
    "IkewardenFindingsCritical": Case(
        {
            'ikewarden_findings{state="open",severity="critical"}': stays(0, 29, 1),
            'ikewarden_findings{state="accepted",severity="critical"}': stays(2),
            'ikewarden_findings{state="open",severity="high"}': stays(2),
        },
        80,
        92,
    ),
    "IkewardenAuditsLate": Case(
        {
            'ikewarden_audited_gateways{which="late"}': stays(0, 29, 1),
            'ikewarden_audited_gateways{which="missing"}': stays(2),
        },
        80,
        92,
    ),
    "IkewardenRotationStuck": Case(
        {
            'ikewarden_rotations_running{state="stuck"}': stays(0, 29, 1),
            'ikewarden_rotations_running{state="staged"}': stays(9),
        },
        35,
        42,
    ),
    "IkewardenRotationRolledBack": Case(
        {
            'ikewarden_rotations_ended_total{state="rolled_back"}': stays(4, 59, 5),
            'ikewarden_rotations_ended_total{state="retired"}': "0+1x200",
        },
        59,
        65,
    ),
    "IkewardenKeysOverdue": Case(
        {
            'ikewarden_shared_secrets_overdue{kind="psk"}': stays(0, 29, 1),
            'ikewarden_shared_secrets_overdue{kind="ppk"}': stays(0),
        },
        80,
        92,
    ),
    "IkewardenCriticalAlertOpen": Case(
        {
            'ikewarden_sa_alerts_open{kind="downgrade",severity="critical"}': stays(0, 29, 1),
            'ikewarden_sa_alerts_open{kind="clock",severity="medium"}': stays(3),
        },
        30,
        32,
        'kind="downgrade"',
    ),
    "IkewardenHighAlertOpen": Case(
        {'ikewarden_sa_alerts_open{kind="events_lost",severity="high"}': stays(0, 29, 1)},
        50,
        62,
        'kind="events_lost"',
    ),
    "IkewardenAlertsLeftOut": Case(
        {'ikewarden_sa_alerts_left_out{gateway="gw1"}': "_x30 2x200"},
        30,
        48,
    ),
    "IkewardenAuditLogNotSequenced": Case(
        {
            # Rows come all the time, and are taken up, until no head is signed any more.
            "ikewarden_audit_log_waiting_rows": stays(3),
            "ikewarden_audit_log_head_age_seconds": "5x40 60+60x200",
        },
        50,
        65,
    ),
    "IkewardenAuditLogShrank": Case({"ikewarden_audit_log_size": "100+1x60 20+1x99"}, 60, 63),
    "IkewardenApprovalsWait": Case(
        {"ikewarden_approvals_oldest_seconds": "0+60x1000"}, 12 * 60 - 1, 12 * 60 + 10
    ),
}


def test_the_rules_are_well_formed() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stderr.decode()


def test_each_rule_says_what_it_means_and_what_to_do() -> None:
    page = (ROOT / "docs/how-to/monitoring.md").read_text("utf-8")
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(rules())
    for name, rule in rules().items():
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        said = rule["annotations"]
        assert set(said) == {"summary", "description", "runbook_url"}
        assert said["runbook_url"] == f"docs/how-to/monitoring.md#{name.lower()}"
        # A command that is named there is one; another test compares those with the program.
        assert not said["summary"].endswith(".")


def test_rules_ask_for_what_there_is() -> None:
    there = {each.name for each in ALL}
    for name, rule in rules().items():
        for metric in re.findall(r"\bikewarden_\w+", rule["expr"]):
            assert metric.removesuffix("_bucket") in there, (name, metric)


def test_every_rule_is_tried() -> None:
    assert CASES.keys() == rules().keys()


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    case, severity = CASES[name], rules()[name]["labels"]["severity"]
    labels = ",".join(
        part
        for part in (
            f'alertname="{name}",alertstate="firing",severity="{severity}"',
            case.labels,
        )
        if part
    )
    asked = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
                "promql_expr_test": [
                    {"expr": asked, "eval_time": f"{case.quiet}m", "exp_samples": []},
                    {
                        "expr": asked,
                        "eval_time": f"{case.fires}m",
                        "exp_samples": [{"labels": f"ALERTS{{{labels}}}", "value": 1}],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(document))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_what_people_read_is_whole(tmp_path: Path) -> None:
    """The templates in summaries and descriptions, filled in by Prometheus."""
    document = {
        "rule_files": [str(RULES)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": 'ikewarden_crl_next_update_timestamp_seconds{authority="a",kind="full"}',
                        "values": "60x30",
                    },
                    {
                        "series": 'ikewarden_crl_this_update_timestamp_seconds{authority="a",kind="full"}',
                        "values": "0x30",
                    },
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "20m",
                        "alertname": "IkewardenCrlLate",
                        "exp_alerts": [
                            {
                                "exp_labels": {
                                    "authority": "a",
                                    "kind": "full",
                                    "severity": "warning",
                                },
                                "exp_annotations": {
                                    "summary": "The full revocation list of a is not renewed",
                                    "description": "2000% of its validity are over; it should have been made anew at"
                                    " half of it.",
                                    "runbook_url": "docs/how-to/monitoring.md#ikewardencrllate",
                                },
                            }
                        ],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(document))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
