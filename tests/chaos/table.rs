//! What no rule can decide: how many posts are sent twice, and how many wait for a person, for each kind of ledger and
//! each setting, when a worker dies at each of its steps.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use super::ground::{Coverage, Ground, Kind, Planned, post_id};
use super::round::binary;
use crate::support::poster::{Fate, KillPoint, Poster};

/// Measures with `posts` deaths in each cell, and gives the table as Markdown.
pub fn measure(posts: usize) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = dir.path().join("healer.toml");
    let mut text = format!(
        "Of {posts} posts whose worker died at each step, each cell: sent twice / waiting for a person.\n\n\
         | ledgers | they know of the last week's posts | `on_unproven` | `trust_silence` | claimed | attempt begun | thread half sent | sent, no trace | sent and noted |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for kind in [Kind::None, Kind::Receipts, Kind::Attempts, Kind::Both] {
        let mut ground = Ground::new(kind);
        let coverages: &[Coverage] =
            if kind == Kind::None { &[Coverage::Full] } else { &[Coverage::Full, Coverage::Half] };
        for coverage in coverages {
            // The last is what one can set where waiting is better than sending twice.
            let settings = [("requeue", "any"), ("hold", "any"), ("auto", "any"), ("hold", "attempts")];
            for (on_unproven, silence) in settings {
                let settings = format!(
                    "[heal.stuck-posts]\non_unproven = \"{on_unproven}\"\ntrust_silence = \"{silence}\"\n[heal.brake]\nper_run = 10000\nper_day = 10000\n\
                     share_from = 10000\n"
                );
                fs::write(&config, settings).expect("the settings are written");
                let name = match kind {
                    Kind::None => "none",
                    Kind::Receipts => "receipts only",
                    Kind::Attempts => "attempts only",
                    _ => "both",
                };
                let share = match (kind, coverage) {
                    (Kind::None, _) => "–",
                    (_, Coverage::Full) => "all",
                    (_, Coverage::Half) => "half",
                };
                let _ = write!(text, "| {name} | {share} | {on_unproven} | {silence} |");
                for point in KillPoint::ALL {
                    let (twice, waiting) = cell(&mut ground, *coverage, &config, point, posts);
                    let _ = write!(text, " {twice} / {waiting} |");
                }
                text.push('\n');
            }
        }
    }
    text
}

fn cell(
    ground: &mut Ground,
    coverage: Coverage,
    config: &std::path::Path,
    point: KillPoint,
    posts: usize,
) -> (usize, i64) {
    ground.reset(coverage, 0);
    let poster = Poster::new(ground.kind.ledgers(), true);
    let planned: Vec<Planned> = (0..posts)
        .map(|number| Planned {
            // An odd digit: the receipt of a thread is written when all of it is sent.
            id: post_id(1, number),
            parts: if point == KillPoint::Thread { 3 } else { 1 },
            age_s: 60,
            rescues: 0,
        })
        .collect();
    ground.queue(&planned);
    let fates = |_: &str, before: u64, _: usize| if before == 0 { Fate::Die(point) } else { Fate::Finish };
    poster.work(&mut ground.workers[0], &fates);
    ground.pass_time(3_600);
    let status = Command::new(binary())
        .args(["heal", "--quiet", "--config"])
        .arg(config)
        .current_dir("/")
        .env_clear()
        .env("DATABASE_URL", ground.url("healer"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("healer runs");
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    poster.work(&mut ground.workers[0], &fates);
    let twice = planned.iter().filter(|post| poster.platform.doubles(&post.id) > 0).count();
    let waiting = ground
        .kit
        .query_typed_one("SELECT count(*) FROM public.content_metadata WHERE status = 'posting'", &[])
        .expect("posts are counted")
        .get(0);
    (twice, waiting)
}
