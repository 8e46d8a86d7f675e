//! `posting`: how many of the finished posts were sent, how long that took, how often a limit was hit, and what waits.
//!
//! Finished is what was posted or given up; what was skipped, cancelled or is still on its way does not count. Time is
//! measured from the planned time, and from the claim where that is kept (a claim column, or `post_attempts`).
//! A rate limit is told by events, by the errors of posts and by those of attempts; the same hit shows in several of
//! them, so the figure is that of the source that tells of most; where one that exists could not be asked there is no
//! figure. Never changes a post.
//! Limits: a post that was archived since no longer counts as given up; hours are UTC.

use serde_json::{Value, json};

use super::{Gaps, Room, Scene, Told, check_of, figure, lasting, part_of, settings, share};
use crate::change::plan::Severity;
use crate::database::statement::{self, Names, Template};
use crate::error::Error;
use crate::heal::{CheckResult, Status, ago};
use crate::posts::evidence::Ledgers;
use crate::posts::mapping::{ClaimSource, instant, is_time, key_as};
use crate::report::model::Concern;
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "posting";

/// Finished posts below which their shares say nothing.
const FINISHED_FROM: u64 = 10;

/// Hits of one hour, in parts of the day's limit, from which it is a storm.
const STORM_SHARE: f64 = 0.5;

/// One group of finished posts. Times in ms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Posted.
    pub posted: u64,
    /// Given up.
    pub failed: u64,
    /// From the planned time to posted.
    pub mean: Option<f64>,
    /// The same.
    pub median: Option<f64>,
    /// The same.
    pub p95: Option<f64>,
    /// Posted before the planned time: set aside.
    pub early: u64,
    /// From the claim to posted.
    pub claim_median: Option<f64>,
    /// The same.
    pub claim_p95: Option<f64>,
}

impl Group {
    /// Share of the finished posts that were posted.
    pub fn success(&self) -> Option<f64> {
        part_of(self.posted, self.posted + self.failed)
    }

    fn told(&self) -> Value {
        json!({
            "posted": self.posted, "failed": self.failed, "successRate": share(self.success()),
            "mean": figure(self.mean), "median": figure(self.median), "p95": figure(self.p95),
            "claimMedian": figure(self.claim_median), "claimP95": figure(self.claim_p95),
        })
    }
}

/// Rate-limit hits of 24 hours by one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// The source.
    pub source: &'static str,
    /// How many.
    pub hits: u64,
    /// In the hour with the most.
    pub busiest: u64,
}

/// Posts that are due and wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub posts: u64,
    /// The oldest, in seconds since it was due.
    pub oldest_s: i64,
    /// The median of it.
    pub median_s: i64,
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// The last 24 hours; `None` where it cannot be told.
    pub day: Option<Group>,
    /// The last 7 days.
    pub week: Option<Group>,
    /// The last 7 days by type.
    pub types: Vec<(String, Group)>,
    /// The last 7 days by hour of posting.
    pub hours: Vec<(i64, Group)>,
    /// By source; empty where none can be read.
    pub hits: Vec<Hits>,
    /// What waits.
    pub waiting: Option<Waiting>,
}

impl Measured {
    /// The source that tells of most hits.
    pub fn most_hits(&self) -> Option<&Hits> {
        self.hits.iter().max_by_key(|hits| hits.hits)
    }
}

/// What calls for action, the gravest first: status, words, and a stable key. Pure.
pub fn judge(measured: &Measured, limits: &settings::Posting) -> Vec<(Status, String, &'static str)> {
    let mut lines = Vec::new();
    let enough = |group: &&Group| group.posted + group.failed >= FINISHED_FROM;
    let recent = measured.day.as_ref().filter(enough).map(|group| (group, "24 h"));
    let recent = recent.or_else(|| measured.week.as_ref().filter(enough).map(|group| (group, "7 days")));
    if let Some((group, over)) = recent
        && let Some(success) = group.success()
    {
        let finished = group.posted + group.failed;
        if success < limits.success_warning {
            lines.push((
                Status::Warning,
                format!("{:.0} % of {finished} finished posts were posted in {over}", success * 100.0),
                "posting-success",
            ));
        } else if 1.0 - success > limits.failures_warning {
            lines.push((
                Status::Warning,
                format!("{:.0} % of {finished} finished posts failed in {over}", (1.0 - success) * 100.0),
                "posting-success",
            ));
        }
        if let Some(mean) = group.mean.filter(|mean| *mean > limits.slow.0.as_secs_f64() * 1_000.0) {
            lines.push((
                Status::Warning,
                format!("posts are posted {} after their planned time on average ({over})", lasting(mean)),
                "posting-slow",
            ));
        }
    }
    if let Some(most) = measured.most_hits() {
        let limit = u64::from(limits.rate_limit_warning);
        if most.hits > 0 && most.hits >= limit {
            let storm = most.busiest as f64 >= STORM_SHARE * most.hits as f64;
            let shape = if storm { format!(", {} of them within one hour", most.busiest) } else { String::new() };
            lines.push((
                Status::Warning,
                format!("{} rate-limit hits in 24 h, by the {}{shape}", most.hits, most.source),
                "rate-limit",
            ));
        }
    }
    if let Some(waiting) =
        measured.waiting.as_ref().filter(|waiting| waiting.posts > 0 && waiting.oldest_s > limits.waiting.as_seconds())
    {
        lines.push((
            Status::Warning,
            format!("{} posts are due and wait, the oldest for {}", waiting.posts, ago(waiting.oldest_s)),
            "posts-waiting",
        ));
    }
    lines
}

/// The room.
#[derive(Debug, Default)]
pub struct Posting {
    measured: Measured,
    notes: Vec<String>,
    gaps: Gaps,
    limits: settings::Posting,
}

fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// The words that mean given up, as literals: those that the column can hold.
pub fn failed_words(scene: &Scene<'_>) -> Result<String, Error> {
    let posts = &scene.settings.posts;
    let labels = scene.mapping.posts.column(&posts.status).and_then(|column| column.labels.clone());
    let mut words = vec![scene.catalog.literal(&posts.words.failed)?];
    for word in &scene.settings.optimize.performance.posting.failed_words {
        if labels.as_ref().is_none_or(|labels| labels.contains(word)) {
            words.push(scene.catalog.literal(word)?);
        }
    }
    Ok(words.join(", "))
}

impl Posting {
    fn names(scene: &Scene<'_>) -> Result<Names, Error> {
        let claimed = match &scene.mapping.claim {
            ClaimSource::Claim(_) => scene.mapping.names.get("claimed_at").unwrap_or("NULL::timestamptz").to_owned(),
            _ => "NULL::timestamptz".to_owned(),
        };
        Ok(scene.mapping.names.with("finished_claim", claimed).with("failed_words", failed_words(scene)?))
    }

    fn finished(&mut self, scene: &mut Scene<'_>, names: &Names) -> Result<(), Error> {
        scene.session.read()?;
        for row in scene.session.rows(&statement::OPTIMIZE_POSTING.fill(names), &[])? {
            let group = Group {
                posted: count(row.optional_int("posted")?),
                failed: count(row.optional_int("failed")?),
                mean: row.optional_float("mean_ms")?,
                median: row.optional_float("median_ms")?,
                p95: row.optional_float("p95_ms")?,
                early: count(row.optional_int("early")?),
                claim_median: row.optional_float("claim_median_ms")?,
                claim_p95: row.optional_float("claim_p95_ms")?,
            };
            match (row.text("span")?.as_str(), row.optional_text("type")?, row.optional_int("hour")?) {
                ("day", None, _) => self.measured.day = Some(group),
                ("day", Some(_), _) => {}
                (_, None, None) => self.measured.week = Some(group),
                (_, Some(kind), _) => self.measured.types.push((kind, group)),
                (_, None, Some(hour)) => self.measured.hours.push((hour, group)),
            }
        }
        self.measured.types.sort_by(|a, b| a.0.cmp(&b.0));
        self.measured.hours.sort_by_key(|(hour, _)| *hour);
        Ok(())
    }

    /// From the claim to posted, where the posts themselves do not keep it.
    fn attempts(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        if matches!(scene.mapping.claim, ClaimSource::Claim(_)) {
            return Ok(());
        }
        let ledgers = Ledgers::find(scene.settings, scene.catalog, scene.mapping)?;
        let Some(id) = scene.mapping.posts.column(&scene.settings.posts.id).filter(|_| ledgers.has_durations()) else {
            return Ok(());
        };
        let names = ledgers.names().with("attempt_match", key_as("r.decision_id::text", id));
        scene.session.read()?;
        for row in scene.session.rows(&statement::OPTIMIZE_POSTING_ATTEMPTS.fill(&names), &[])? {
            let (median, p95) = (row.optional_float("median_ms")?, row.optional_float("p95_ms")?);
            match row.optional_text("type")? {
                None => {
                    if let Some(week) = &mut self.measured.week {
                        (week.claim_median, week.claim_p95) = (median, p95);
                    }
                }
                Some(kind) => {
                    if let Some((_, group)) = self.measured.types.iter_mut().find(|(name, _)| *name == kind) {
                        (group.claim_median, group.claim_p95) = (median, p95);
                    }
                }
            }
        }
        Ok(())
    }

    fn limits(&mut self, scene: &mut Scene<'_>, names: &Names) -> Result<(), Error> {
        if scene.mapping.events.as_ref().is_some_and(crate::database::catalog::Relation::readable) {
            self.hits(scene, "events", statement::OPTIMIZE_RATE_EVENTS, names)?;
        }
        if scene.mapping.has_changed_at && names.get("last_error") != Some("NULL::text") {
            self.hits(scene, "errors of posts", statement::OPTIMIZE_RATE_POSTS, names)?;
        }
        let ledgers = &scene.settings.ledgers;
        let zone = scene.catalog.literal(&scene.settings.posts.timezone)?.to_owned();
        for (source, table) in [
            ("errors of post_attempts", &ledgers.post_attempts),
            ("errors of posting_attempts", &ledgers.posting_attempts),
        ] {
            let Some(relation) = scene.catalog.relation(table).filter(|relation| relation.readable()) else { continue };
            let at =
                ["created_at"].iter().find_map(|name| relation.column(name).filter(|c| c.may_select && is_time(c)));
            let error = relation.column("error_message").filter(|column| column.may_select);
            let (Some(at), Some(error)) = (at, error) else { continue };
            let names = names
                .with("attempts", relation.quoted.clone())
                .with("attempts_at", instant("r", at, &zone))
                .with("attempts_error", format!("r.{}::text", error.quoted));
            self.hits(scene, source, statement::OPTIMIZE_RATE_ATTEMPTS, &names)?;
        }
        Ok(())
    }

    fn hits(
        &mut self,
        scene: &mut Scene<'_>,
        source: &'static str,
        template: Template,
        names: &Names,
    ) -> Result<(), Error> {
        scene.session.read()?;
        // One source that cannot be read (an odd time, a lock) leaves the others; how many hits there were is then unknown.
        match scene.session.row(&template.fill(names), &[]) {
            Ok(row) => self.measured.hits.push(Hits {
                source,
                hits: count(row.optional_int("hits")?),
                busiest: count(row.optional_int("busiest")?),
            }),
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                scene.session.check_stop()?;
                self.gaps.note(&format!("rate-limit hits by the {source} could not be counted"), &error);
            }
        }
        Ok(())
    }
}

impl Room for Posting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.posting.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.limits = scene.settings.optimize.performance.posting.clone();
        let names = Self::names(scene)?;
        if scene.mapping.has_posted_at {
            self.finished(scene, &names)?;
            self.attempts(scene)?;
        } else {
            self.notes.push(format!(
                "column {} is missing: when posts were posted is not known",
                scene.settings.posts.posted_at
            ));
        }
        self.limits(scene, &names)?;
        if names.get("scheduled_at") != Some("NULL::timestamptz")
            || names.get("created_at") != Some("NULL::timestamptz")
        {
            scene.session.read()?;
            let row = scene.session.row(&statement::OPTIMIZE_WAITING.fill(&names), &[])?;
            self.measured.waiting = Some(Waiting {
                posts: count(row.optional_int("posts")?),
                oldest_s: row.optional_int("oldest_s")?.unwrap_or(0),
                median_s: row.optional_int("median_s")?.unwrap_or(0),
            });
        }
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        let measured = &self.measured;
        let day = measured.day.as_ref();
        // A source that could not be asked may have told of more than any other.
        let most = measured.most_hits().filter(|_| self.gaps.is_empty());
        let hits = most.map_or(Value::Null, |hits| json!(hits.hits));
        told.metric("postingEfficiency", "successRate", share(day.and_then(Group::success)));
        told.metric("postingEfficiency", "avgPostTime", figure(day.and_then(|group| group.mean)));
        told.metric("postingEfficiency", "rateLimitHits", hits);
        let list = |groups: &[(String, Group)]| -> Value {
            groups.iter().map(|(name, group)| (name.clone(), group.told())).collect::<serde_json::Map<_, _>>().into()
        };
        let hours: Vec<(String, Group)> =
            measured.hours.iter().map(|(hour, group)| (format!("{hour:02}"), group.clone())).collect();
        told.parts.insert(
            "posting".into(),
            json!({
                "day": day.map(Group::told), "week": measured.week.as_ref().map(Group::told),
                "types": list(&measured.types), "hours": list(&hours),
                "rateLimits": measured.hits.iter().map(|h| json!({"source": h.source, "hits": h.hits, "busiestHour": h.busiest})).collect::<Vec<_>>(),
                "waiting": measured.waiting.as_ref().map(|w| json!({"posts": w.posts, "oldestSeconds": w.oldest_s, "medianSeconds": w.median_s})),
            }),
        );
        let findings = judge(measured, &self.limits);
        let lines: Vec<(Status, String)> = findings.iter().map(|(status, line, _)| (*status, line.clone())).collect();
        told.checks.push(self.check(&lines));
        for (_, line, key) in findings {
            let step = match key {
                "rate-limit" => "post less often, or spread the posts over the day",
                "posts-waiting" => {
                    "see whether the posting job runs and the circuit breaker is closed: healer heal --dry-run"
                }
                "posting-slow" => "see what holds the browser (browser-operations), and how many posts one run takes",
                _ => "`healer analyze-errors` groups the errors; mend the most frequent first",
            };
            told.recommendations.push(format!("{line}: {step}"));
            told.concerns.push(Concern {
                key: key.to_owned(),
                severity: Severity::Warning,
                title: line.clone(),
                detail: line,
                next_step: step.to_owned(),
            });
        }
    }
}

impl Posting {
    fn check(&self, lines: &[(Status, String)]) -> CheckResult {
        let finished = |group: &Option<Group>| group.as_ref().map_or(0, |group| group.posted + group.failed);
        let mut check = match (&self.measured.day, finished(&self.measured.day), finished(&self.measured.week)) {
            (None, _, _) if lines.is_empty() => CheckResult::unknown(NAME, "when posts were posted is not known", ""),
            (_, 0, 0) if lines.is_empty() => CheckResult::unknown(NAME, "no data: no post was finished in 7 days", ""),
            (_, 0, week) => check_of(NAME, lines, format!("no post was finished in 24 h, {week} in 7 days")),
            (Some(day), finished, _) => {
                check_of(NAME, lines, format!("{} of {finished} finished posts were posted in 24 h", day.posted))
            }
            (None, finished, _) => check_of(NAME, lines, format!("{finished} posts were finished in 24 h")),
        };
        let early = self.measured.week.as_ref().map_or(0, |week| week.early);
        if early > 0 {
            check.details.push(format!("{early} posts were posted before their planned time: set aside"));
        }
        check.details.extend(self.notes.iter().cloned());
        self.gaps.mark(&mut check);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(measured: &Measured) -> Vec<&'static str> {
        judge(measured, &settings::Posting::default()).into_iter().map(|(_, _, key)| key).collect()
    }

    fn group(posted: u64, failed: u64) -> Measured {
        Measured { day: Some(Group { posted, failed, ..Group::default() }), ..Measured::default() }
    }

    #[test]
    fn success_below_four_fifths_of_the_finished_posts_calls_for_action_and_of_nothing_never() {
        assert_eq!(keys(&group(80, 20)), [""; 0]);
        assert_eq!(keys(&group(79, 21)), ["posting-success"]);
        assert_eq!(keys(&group(1, 8)), [""; 0], "nine posts say nothing");
        assert_eq!(keys(&group(0, 0)), [""; 0]);
        assert_eq!(Group::default().success(), None);
    }

    #[test]
    fn a_mean_above_ten_minutes_calls_for_action() {
        let of = |mean| {
            let mut measured = group(100, 0);
            measured.day.as_mut().expect("a day").mean = mean;
            keys(&measured)
        };
        assert_eq!(of(Some(600_000.0)), [""; 0]);
        assert_eq!(of(Some(600_001.0)), ["posting-slow"]);
        assert!(of(None).is_empty() && of(Some(f64::NAN)).is_empty());
    }

    #[test]
    fn hits_are_those_of_the_source_that_tells_of_most() {
        let hits = |source, hits, busiest| Hits { source, hits, busiest };
        let measured =
            Measured { hits: vec![hits("events", 20, 18), hits("errors of posts", 7, 7)], ..Measured::default() };
        assert_eq!(measured.most_hits().map(|hits| hits.hits), Some(20));
        let lines = judge(&measured, &settings::Posting::default());
        assert!(lines[0].1.contains("18 of them within one hour"), "{lines:?}");
        let fewer = Measured { hits: vec![hits("events", 19, 1)], ..Measured::default() };
        assert_eq!(keys(&fewer), [""; 0]);
    }

    #[test]
    fn posts_wait_for_too_long_after_an_hour() {
        let of = |posts, oldest_s| Measured {
            waiting: Some(Waiting { posts, oldest_s, median_s: 0 }),
            ..Measured::default()
        };
        assert!(keys(&of(9, 3_600)).is_empty() && keys(&of(0, 9_999)).is_empty());
        assert_eq!(keys(&of(1, 3_601)), ["posts-waiting"]);
    }
}
