//! What `--sql-out` writes: one migration with what would mend the database, each statement under what it stands on.
//!
//! It is to be read before it is run. What adds comes first, what drops last; nothing in it is in a transaction, because
//! `CONCURRENTLY` and `VACUUM` cannot be.

use chrono::{DateTime, Utc};

use super::{Finding, Level};
use crate::report::table::clean;

/// The migration. `server` is the server's version, `database` its name.
pub fn text(findings: &[Finding], database: &str, server: &str, now: DateTime<Utc>) -> String {
    let mut out = format!(
        "-- Proposed by healer {} for the database {} (Postgres {}) at {}.\n\
         -- To be reviewed: nothing here has been run. Run it with psql, statement by statement and not in one transaction\n\
         -- (CONCURRENTLY and VACUUM cannot run in one), over a direct connection, at a quiet time.\n\
         -- A build that fails leaves an invalid index behind: DROP INDEX CONCURRENTLY it, and run the statement again.\n",
        env!("CARGO_PKG_VERSION"),
        clean(database),
        clean(server),
        now.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let with_remedy: Vec<&Finding> = findings.iter().filter(|finding| finding.remedy.is_some()).collect();
    let drops = |finding: &&&Finding| finding.remedy.as_deref().is_some_and(|remedy| remedy.starts_with("DROP"));
    for (title, dropping) in [("What adds, rebuilds or refreshes", false), ("What drops", true)] {
        let part: Vec<&&Finding> = with_remedy.iter().filter(|finding| drops(finding) == dropping).collect();
        if part.is_empty() {
            continue;
        }
        out.push_str(&format!("\n-- {title}\n"));
        for finding in part {
            out.push_str(&of(finding));
        }
    }
    if with_remedy.is_empty() {
        out.push_str("\n-- Nothing was found that a statement would mend.\n");
    }
    out
}

fn of(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Critical => "critical",
    };
    // A name may hold a line break: in a comment it would end the comment.
    format!(
        "\n-- {} ({level}): {}\n-- {}\n-- evidence: {}\n{}\n",
        clean(&finding.key),
        clean(&finding.title),
        clean(&finding.detail),
        clean(&finding.evidence.to_string()),
        finding.remedy.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(key: &str, remedy: Option<&str>) -> Finding {
        Finding {
            key: key.into(),
            kind: "x",
            level: Level::Warning,
            title: "a title\nDROP TABLE posts;".into(),
            detail: "a detail".into(),
            evidence: json!({ "rows": 7 }),
            remedy: remedy.map(str::to_owned),
        }
    }

    fn statements(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect()
    }

    #[test]
    fn what_drops_comes_last_and_a_line_break_in_a_name_starts_no_statement() {
        let findings = [
            finding("duplicate-index:a", Some("DROP INDEX CONCURRENTLY a;")),
            finding("missing-index:b", Some("CREATE INDEX CONCURRENTLY ON b (c);")),
            finding("event-growth:c", None),
        ];
        let text = text(&findings, "app\n; DROP TABLE x", "15.4", DateTime::UNIX_EPOCH);
        assert_eq!(statements(&text), ["CREATE INDEX CONCURRENTLY ON b (c);", "DROP INDEX CONCURRENTLY a;"], "{text}");
        assert!(text.contains("\"rows\":7"));
    }

    #[test]
    fn without_findings_it_says_so() {
        let text = text(&[], "app", "15.4", DateTime::UNIX_EPOCH);
        assert!(statements(&text).is_empty() && text.contains("Nothing was found"), "{text}");
    }
}
