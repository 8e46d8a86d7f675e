//! `report`: the whole of it in each format, with and without anything stored, and held to what each format demands.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::{Healer, Ran, fingerprint};

/// A text that would be a script, a tag, an attribute's end and a line of another format, if anything took it for one.
const NASTY: &str = "<script>alert(\"x\")</script> \\ '{a=\"b\"}\n# TYPE x gauge";

/// A database in which something happened: stuck posts, some of them with nasty ids and errors, passes that ran, an alert.
fn lived_in(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    Healer::on(&database, &["init"]).run().expect(0);
    let posts = shape.posts_table();
    let quoted = NASTY.replace('\'', "''");
    database.run(&format!(
        "INSERT INTO {posts} (decision_id, content, status, created_at, scheduled_at, updated_at)
         SELECT 'post ' || n, '{quoted}', 'posting', now() - interval '3 hours', now() - interval '2 hours', now() - interval '70 minutes'
           FROM generate_series(1, 4) n;
         INSERT INTO {posts} (decision_id, content, status, created_at, updated_at, posted_at, tweet_id)
         SELECT 'done ' || n, 'x', 'posted', now() - interval '1 day' * n, now() - interval '1 day' * n, now() - interval '1 day' * n, n::text
           FROM generate_series(1, 6) n;
         INSERT INTO public.job_heartbeats (job_name, last_run_status, consecutive_failures, last_error, updated_at)
         VALUES ('job {quoted}', 'failure', 12, '{quoted}', now())"
    ));
    Healer::on(&database, &["heal"]).run();
    Healer::on(&database, &["heal"]).run();
    database.run(&format!(
        "INSERT INTO healer.held_post (post, check_name, status, code, reason) VALUES ('held {quoted}', 'stuck-posts', 'posting', 'x', '{quoted}');
         INSERT INTO healer.alert (fingerprint, pass, key, severity, title, detail, next_step, opened_at, last_seen)
         VALUES ('f', 'heal', 'k', 'critical', '{quoted}', '{quoted}', '{quoted}', now() - interval '1 hour', now());
         INSERT INTO healer.alert_channel (name, failing_since, failures, last_error) VALUES ('ops', now(), 2, '{quoted}')"
    ));
    database
}

fn schema() -> (boon::Schemas, boon::SchemaIndex) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema is in the repository");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler
        .add_resource("file:///report.json", serde_json::from_str(&text).expect("the schema is JSON"))
        .expect("the schema is one");
    let index = compiler.compile("file:///report.json", &mut schemas).expect("the schema compiles");
    (schemas, index)
}

#[track_caller]
fn valid(document: &Value) {
    let (schemas, index) = schema();
    schemas.validate(document, index).unwrap_or_else(|error| panic!("{error:#}\n{document:#}"));
}

#[test]
fn every_document_is_what_the_schema_in_the_repository_says() {
    for shape in Shape::ALL {
        let database = lived_in(shape);
        for part in [&["report", "--format", "json"][..], &["report", "health", "--format", "json"]] {
            let document = Healer::on(&database, part).run().json();
            valid(&document);
        }
    }
    let empty = TestDb::new(Shape::Minimal);
    valid(&Healer::on(&empty, &["report", "--format", "json"]).run().expect(0).json());
    Healer::on(&empty, &["init"]).run().expect(0);
    valid(&Healer::on(&empty, &["report", "--format", "json"]).run().expect(0).json());
    valid(&Healer::at("postgres://x@127.0.0.1:1/none", &["report", "--format", "json"]).run().expect(75).json());
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let (schemas, index) = schema();
    let database = lived_in(Shape::Minimal);
    let good = Healer::on(&database, &["report", "--format", "json"]).run().json();
    let changes: [(&str, Value); 4] = [
        ("/schemaVersion", json!(2)),
        ("/verdict", json!(null)),
        ("/alerts/0/severity", json!("grave")),
        ("/parts/health/stuckPosts", json!("0")),
    ];
    for (pointer, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = value;
        assert!(schemas.validate(&bad, index).is_err(), "{pointer}");
    }
    let mut more = good;
    more["surprise"] = json!(1);
    assert!(schemas.validate(&more, index).is_err());
}

#[test]
fn the_whole_report_says_what_is_wrong_first_and_fits_eighty_columns() {
    let database = lived_in(Shape::Full);
    let text = Healer::on(&database, &["report"]).run().stdout;
    assert!(text.starts_with("healer report: 1") || text.starts_with("healer report: 2"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    for words in [
        "pass heal: completed",
        "TRENDS of the last",
        "OPEN ALERT",
        "channel ops fails",
        "healer report health:",
        "healer undo",
    ] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
    assert!(text.contains('█') && text.contains('▁'), "sparklines: {text}");
    // Everything stored is one day old at most: with a shorter look back there are fewer runs, never more.
    let short = Healer::on(&database, &["report", "--since", "1s", "--format", "json"]).run().json();
    assert!(
        short["runs"].as_array().is_some_and(Vec::is_empty)
            || short["runs"].as_array().is_some_and(|runs| runs.len() <= 2)
    );
}

/// The sandbox after each of the four passes.
fn after_all_passes() -> TestDb {
    let database = TestDb::new(Shape::Minimal);
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let mut client = database.client();
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    Healer::on(&database, &["init"]).run().expect(0);
    healer::sandbox::seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    drop(client);
    Healer::on(&database, &["heal"]).run().expect(3);
    Healer::on(&database, &["optimize"]).run().expect(0);
    Healer::on(&database, &["analyze-errors"]).run().expect(0);
    database
}

#[test]
fn each_part_shows_what_its_pass_stored_and_the_whole_has_them_all() {
    let database = after_all_passes();
    let before = fingerprint(&database);
    for (part, words) in [
        ("performance", &["archive_export", "has used 95 % of its", "MEDIAN"][..]),
        ("content", &["contrarian", "thread", "WEIGHT"]),
        ("errors", &["errors of", "rateLimiter:rate_limit", "health 56"]),
        ("forecast", &["trend_refresh"]),
    ] {
        let text = Healer::on(&database, &["report", part]).run().expect(0).stdout;
        assert!(text.starts_with(&format!("healer report {part}: ")), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} is missing:\n{text}");
        }
        let document = Healer::on(&database, &["report", part, "--format", "json"]).run().expect(0).json();
        assert_eq!((&document["part"], &document["status"]), (&json!(part), &json!("ok")), "{document:#}");
    }
    let whole = Healer::on(&database, &["report", "--format", "json"]).run().expect(0).json();
    valid(&whole);
    let parts: Vec<&str> = whole["parts"].as_object().expect("parts").keys().map(String::as_str).collect();
    assert_eq!(parts, ["content", "errors", "forecast", "health", "performance"]);
    for line in Healer::on(&database, &["report"]).run().expect(0).stdout.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    let page = page(&database);
    for picture in ["Durations by job", "Weights of generators over time", "Weight of each hour", "Errors a day"] {
        assert!(page.contains(picture), "{picture}");
    }
    assert_eq!(fingerprint(&database), before, "a report writes nothing");
}

#[test]
fn a_part_that_cannot_be_read_says_so_and_the_others_are_shown() {
    let database = lived_in(Shape::Minimal);
    for part in ["performance", "content", "errors"] {
        let text = Healer::on(&database, &["report", part]).run().expect(0).stdout;
        assert!(text.contains("nothing is known yet"), "{text}");
    }
    database.run("ALTER TABLE healer.performance_sample RENAME TO gone");
    let broken = Healer::on(&database, &["report", "performance", "--format", "json"]).run().expect(78).json();
    assert_eq!(broken["status"], "partial", "{broken:#}");
    assert!(broken["verdict"].as_str().is_some_and(|words| words.contains("could not be read")), "{broken:#}");
    let whole = Healer::on(&database, &["report"]).run().expect(78).stdout;
    assert!(whole.contains("healer report health:"), "{whole}");
}

#[test]
fn a_report_writes_nothing_in_any_format() {
    let database = lived_in(Shape::Minimal);
    let before = fingerprint(&database);
    for format in ["table", "json", "html", "prometheus"] {
        Healer::on(&database, &["report", "--format", format]).run();
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn an_empty_database_gives_a_whole_report_in_each_format() {
    let database = TestDb::new(Shape::Minimal);
    for format in ["table", "json", "html", "prometheus"] {
        let ran = Healer::on(&database, &["report", "--format", format]).run().expect(0);
        assert!(!ran.stdout.is_empty() && !ran.stdout.contains("NaN"), "{format}: {}", ran.stdout);
    }
}

#[test]
fn only_the_report_has_pages_and_figures() {
    let database = TestDb::new(Shape::Minimal);
    for format in ["html", "prometheus"] {
        let ran = Healer::on(&database, &["heal", "--dry-run", "--format", format]).run().expect(2);
        assert!(ran.stderr.contains("are for `report`"), "{}", ran.stderr);
    }
}

fn page(database: &TestDb) -> String {
    Healer::on(database, &["report", "--format", "html"]).run().stdout
}

#[test]
fn the_page_brings_no_script_and_takes_what_the_database_holds_as_text() {
    let database = lived_in(Shape::Full);
    let page = page(&database);
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("default-src 'none'"), "a policy of its own");
    for forbidden in ["<script", "javascript:", " style=\"", " onload", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"), "it is shown as what it is");
    assert!(page.contains("<svg ") && page.contains("aria-label"));
}

#[test]
fn hours_stand_in_the_order_of_the_clock_and_each_weight_with_what_it_stands_on() {
    let database = after_all_passes();
    let text = Healer::on(&database, &["report", "content"]).run().expect(0).stdout;
    let first = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u32>().ok());
    assert_eq!(text.lines().filter_map(first).collect::<Vec<_>>(), (0..24).collect::<Vec<_>>(), "{text}");
    let findings =
        Healer::on(&database, &["report", "content", "--format", "json"]).run().expect(0).json()["findings"].take();
    for (subject, name) in [("generators", "humanVoice"), ("formats", "thread"), ("hours", "15")] {
        let found = &findings[subject][name];
        assert!(
            found["low"].as_f64() < found["high"].as_f64() && found["posts"].as_u64() > Some(0),
            "{subject}: {found}"
        );
    }
    // The same in pictures, with intervals.
    let page = page(&database);
    for title in ["What generators earn", "What hours earn", "The chance that the next run fails", "Errors by pattern"]
    {
        assert!(page.contains(title), "{title}");
    }
}

/// What only the days before can tell: counts of posts, rates of success, and forecasts of resources.
fn remember(database: &TestDb) {
    let quoted = NASTY.replace('\'', "''");
    database.run(&format!(
        "INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, counts)
         SELECT pass, pass, 'x', now() - make_interval(hours => hours), now() - make_interval(hours => hours), 'ok', 0, counts
           FROM (VALUES ('heal', 75, '{{\"posts\": {{\"queued\": 7, \"posting\": 2, \"failed\": 30}}}}'::jsonb),
                        ('heal', 76, '{{\"posts\": {{\"queued\": 99}}}}'), ('heal', 51, '{{\"posts\": 3}}'),
                        ('optimize-content', 45, '{{\"posts\": {{\"queued\": 98}}}}'),
                        ('heal', 27, jsonb_build_object('posts', jsonb_build_object('{quoted}', 5)))) v (pass, hours, counts);
         INSERT INTO healer.performance_sample (run_id, at, body, counters)
         SELECT 1, now() - make_interval(hours => hours), body, '{{}}'
           FROM (VALUES (27, '{{\"posting\": {{\"day\": {{\"posted\": 9, \"failed\": 1}}}}}}'::jsonb),
                        (28, '{{\"posting\": {{\"day\": {{\"posted\": 1, \"failed\": 1}}}}}}'),
                        (51, '{{\"posting\": {{\"day\": {{\"posted\": 0, \"failed\": 0}}}}}}'),
                        (75, '{{\"posting\": {{\"day\": null}}}}')) v (hours, body);
         INSERT INTO healer.outlook (kind, subject, told, made_at, run_id)
         SELECT 'resource', subject, jsonb_build_object('resource', subject, 'samples', 40, 'value', 80, 'limit', most,
                'reached', most <= 80, 'until_s', until_s, 'silent', silent, 'words', subject || ' in words',
                'unused', '{{\"not_finite\": 0, \"future\": 0, \"duplicates\": 0, \"older\": 0}}'::jsonb), now(), 1
           FROM (VALUES ('connections', 100, '{{\"low\": 172800, \"typical\": 432000, \"high\": 864000, \"slope\": 1, \"since\": 0, \"certainty\": 1}}'::jsonb, NULL::text),
                        ('{quoted}', 100, '{{\"low\": 259200, \"typical\": 604800, \"high\": null, \"slope\": 1, \"since\": 0, \"certainty\": 1}}', NULL),
                        ('sequence public.a_seq', 80, NULL, NULL), ('transaction ids', 100, NULL, 'no_trend')) v (subject, most, until_s, silent)"
    ));
}

/// A picture of the page, with its figures.
#[track_caller]
fn picture<'a>(page: &'a str, title: &str) -> &'a str {
    let start = page.find(&format!("<figcaption>{title}</figcaption>")).unwrap_or_else(|| panic!("{title}: {page}"));
    let rest = &page[start..];
    &rest[..rest.find("</figure>").expect("its end")]
}

#[test]
fn heal_notes_how_many_posts_stand_in_each_status_as_it_left_them() {
    for shape in Shape::ALL {
        let database = lived_in(shape);
        let posts = shape.posts_table();
        let read = |sql: &str| -> Value {
            let text = database.value(sql).unwrap_or_else(|| panic!("nothing: {sql}"));
            serde_json::from_str(&text).expect("JSON")
        };
        let mut there = read(&format!(
            "SELECT jsonb_object_agg(s.status, s.posts)::text FROM (SELECT p.status::text AS status, count(*) AS posts FROM {posts} p
              WHERE p.status IN ('queued', 'ready', 'posting', 'failed') GROUP BY 1) s"
        ));
        assert!(there.as_object().is_some_and(|there| !there.is_empty()), "{there}");
        let noted =
            "SELECT (r.counts -> 'posts')::text FROM healer.run r WHERE r.pass = 'heal' ORDER BY r.id DESC LIMIT 1";
        if there["failed"].is_null() {
            there["failed"] = json!(0);
        }
        assert_eq!(read(noted), there, "{shape:?}");
        let told = Healer::on(&database, &["report", "--format", "json"]).run().json();
        for (status, posts) in there.as_object().expect("an object") {
            let series = &told["trends"]["postsByStatus"][status];
            assert_eq!(series[27].as_f64(), posts.as_f64(), "{status}: {series}");
            assert!(series[26].is_null(), "nobody had counted before: {series}");
        }
        // A dry run looks at no load; where that is switched off there is no count, and none is made up.
        let dry = Healer::on(&database, &["heal", "--dry-run", "--format", "json"]).run().json();
        assert!(dry["counts"]["planned"].is_u64() && dry["counts"]["posts"].is_null(), "{:#}", dry["counts"]);
        Healer::on(&database, &["heal"]).config("[scaling]\nenabled = false").run();
        assert_eq!(database.value(noted), None, "{shape:?}");
    }
}

#[test]
fn pictures_of_the_days_before_show_what_the_passes_stored_in_them() {
    let database = lived_in(Shape::Minimal);
    remember(&database);
    let before = fingerprint(&database);
    let document = Healer::on(&database, &["report", "--since", "7d", "--format", "json"]).run().json();
    valid(&document);
    let trends = &document["trends"];
    // Steps of six hours: 75 and 76 hours ago lie in the same, of which the later count stands.
    for (status, step, posts) in [
        ("queued", 15, Some(7.0)),
        ("posting", 15, Some(2.0)),
        ("failed", 15, Some(30.0)),
        ("queued", 14, None),
        ("queued", 16, None),
        // What is no count is none, another pass has no say, and what a count does not name is in it with none.
        ("queued", 19, None),
        ("queued", 20, None),
        ("queued", 23, Some(0.0)),
        (NASTY, 23, Some(5.0)),
        (NASTY, 15, Some(0.0)),
    ] {
        assert_eq!(trends["postsByStatus"][status][step].as_f64(), posts, "{status} {step}: {trends:#}");
    }
    let rates: Vec<Option<f64>> =
        trends["successRate"].as_array().expect("a series").iter().map(Value::as_f64).collect();
    let mut wanted = vec![None; 28];
    wanted[23] = Some(0.9);
    assert_eq!(rates, wanted, "of nothing there is no share, and what was not measured is null");
    let page = Healer::on(&database, &["report", "--since", "7d", "--format", "html"]).run().stdout;
    assert!(!page.contains("<script"), "a status is text");
    let open = picture(&page, "Posts by status over time");
    assert!(open.contains("queued: 7</title>") && open.contains("posting: 2</title>"), "{open}");
    assert!(open.contains("&lt;script&gt;") && !open.contains(">failed<"), "{open}");
    assert!(picture(&page, "Failed posts over time").contains("failed: 30</title>"));
    let success = picture(&page, "Success rate over time, of 24 h each");
    assert!(success.contains("<td>90</td>") && success.contains("warned below 80 %"), "{success}");
    assert_eq!(success.matches("<circle").count(), 1, "one rate is a point, not a line: {success}");
    let full = picture(&page, "When resources reach their limit, in days");
    assert!(full.contains("<td>5 (2 to 10)</td>") && full.contains("<td>7 (3 or more)</td>"), "{full}");
    assert!(full.contains("<th>a_seq</th>") && !full.contains("transaction ids"), "only those that will: {full}");
    assert_eq!(full.matches("<circle").count(), 3, "{full}");
    for picture in [open, success, full] {
        assert!(picture.contains("role=\"img\" aria-label=\""), "a name for who cannot see it: {picture}");
    }
    assert_eq!(fingerprint(&database), before, "a report writes nothing");
}

#[test]
fn where_nothing_is_stored_for_a_picture_the_page_says_why_in_its_place() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    let of = |arguments: &[&str], title: &str, words: &str| {
        let page = Healer::on(&database, arguments).run().stdout;
        let picture = picture(&page, title);
        assert!(picture.contains(words) && !picture.contains("<svg"), "{title}: {picture}");
    };
    let whole = ["report", "--format", "html"];
    of(&whole, "Posts by status over time", "No count is stored for this time");
    of(&whole, "Failed posts over time", "No count is stored for this time");
    of(&whole, "Success rate over time, of 24 h each", "No rate is stored for this time");
    let rates = Healer::on(&database, &["report", "--format", "json"]).run().json()["trends"]["successRate"].take();
    assert!(rates.as_array().is_some_and(|rates| rates.len() == 28 && rates.iter().all(Value::is_null)), "{rates}");
    // No post at all was counted: that is no lack of counts.
    Healer::on(&database, &["heal"]).run().expect(0);
    of(&whole, "Posts by status over time", "no post waited and none was posting");
    // A job was foretold and no resource; then a resource that is foretold to stay below its limit.
    remember(&database);
    database.run("UPDATE healer.outlook SET kind = 'job', told = '{}'");
    of(
        &["report", "forecast", "--format", "html"],
        "When resources reach their limit",
        "No resource has been measured",
    );
    database.run("DELETE FROM healer.outlook");
    remember(&database);
    database.run("DELETE FROM healer.outlook WHERE subject <> 'transaction ids'");
    of(&["report", "forecast", "--format", "html"], "When resources reach their limit", "No resource is foretold to");
}

/// A program of the system, or none: then the test says so and ends.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: none of {names:?} is installed (scripts/need names the package)");
    }
    found
}

#[test]
fn the_page_is_drawn_by_a_real_browser_without_an_error_and_without_overflow() {
    let Some(browser) = program(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let database = lived_in(Shape::Full);
    remember(&database);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.html");
    std::fs::write(&file, page(&database)).expect("written");
    // The page forbids scripts, as it should; what measures it is another page, which shows it in a frame of each width.
    // Frames of files are strangers to each other, so the measuring page is given the page itself, policy and all, and
    // asks the browser about the result: a policy that was broken, or a script that ran, is an error on its console.
    for width in [360, 1_440] {
        let ran = Command::new(&browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"])
            .arg(format!("--window-size={width},900"))
            .arg(format!("--user-data-dir={}", folder.path().join(format!("profile-{width}")).display()))
            .arg(format!("--screenshot={}", folder.path().join(format!("{width}.png")).display()))
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .output()
            .expect("the browser runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!said.contains("CONSOLE"), "{said}");
        let picture = std::fs::read(folder.path().join(format!("{width}.png"))).expect("a screenshot");
        assert!(picture.len() > 5_000, "{} bytes of picture", picture.len());
    }
    assert_eq!(overflow(&browser, &file, folder.path()), json!({ "360": 0, "1440": 0 }));
}

/// How far the page is wider than a window of each width, as the browser itself says: asked through its debugging pipe
/// there is no script in the page.
fn overflow(browser: &Path, file: &Path, folder: &Path) -> Value {
    let html = std::fs::read_to_string(file).expect("the page");
    // The same page without its policy, in frames of the two widths, and a script beside them that measures.
    let start = html.find("<meta http-equiv").expect("a policy");
    let end = start + html[start..].find('>').expect("its end") + 1;
    let bare = format!("{}{}", &html[..start], &html[end..]);
    let frame = |width: u32| {
        format!(
            "<iframe id=\"f{width}\" width=\"{width}\" height=\"800\" srcdoc=\"{}\"></iframe>",
            bare.replace('&', "&amp;").replace('"', "&quot;")
        )
    };
    let measure = "<script>onload = () => { const over = {};
        for (const width of [360, 1440]) { const page = document.getElementById('f' + width).contentDocument.documentElement;
          over[width] = Math.max(0, page.scrollWidth - width); }
        document.body.innerHTML = '<pre id=out>' + JSON.stringify(over) + '</pre>'; }</script>";
    let path = folder.join("measure.html");
    let mut out = std::fs::File::create(&path).expect("created");
    write!(out, "<!doctype html><style>iframe{{border:0}}</style><body>{}{}{measure}", frame(360), frame(1_440))
        .expect("written");
    drop(out);
    let ran = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--dump-dom",
            "--hide-scrollbars",
        ])
        .args(["--window-size=2000,1200", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", folder.join("profile-measure").display()))
        .arg(format!("file://{}", path.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&ran.stdout);
    let text = dom.split("<pre id=\"out\">").nth(1).and_then(|rest| rest.split('<').next());
    serde_json::from_str(
        text.unwrap_or_else(|| panic!("no measure in {} bytes: {}", dom.len(), String::from_utf8_lossy(&ran.stderr))),
    )
    .expect("the measure is JSON")
}

/// One sample as an independent reader finds it: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads the text format as its specification has it; panics at whatever is not in it.
fn samples(text: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect("a name"));
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                rest = rest.trim_start_matches(',');
                let (label, after) = rest.split_once("=\"").expect("a label");
                let mut value = String::new();
                let mut letters = after.char_indices();
                let end = loop {
                    match letters.next().expect("the end of a label") {
                        (place, '"') => break place + 1,
                        (_, '\\') => match letters.next().expect("an escape").1 {
                            'n' => value.push('\n'),
                            c @ ('"' | '\\') => value.push(c),
                            c => panic!("\\{c} is no escape"),
                        },
                        (_, c) => value.push(c),
                    }
                };
                labels.push((label.to_owned(), value));
                rest = &after[end..];
            }
            rest = &rest[1..];
        }
        samples.push((name.to_owned(), labels, rest.trim().parse().expect("a number")));
    }
    samples
}

#[test]
fn the_figures_are_valid_whole_and_say_when_each_pass_last_succeeded() {
    let database = lived_in(Shape::Full);
    let text = Healer::on(&database, &["report", "--format", "prometheus"]).run().stdout;
    let found = samples(&text);
    let value = |name: &str, label: &str| {
        found
            .iter()
            .find(|(found, labels, _)| found == name && labels.iter().any(|(_, value)| value == label))
            .map(|(_, _, value)| *value)
    };
    let now = chrono::Utc::now().timestamp() as f64;
    for name in ["healer_last_run_timestamp_seconds", "healer_last_success_timestamp_seconds"] {
        let at = value(name, "heal").unwrap_or_else(|| panic!("{name}: {text}"));
        assert!((now - at).abs() < 120.0, "{name} {at} {now}");
    }
    assert_eq!(value("healer_system_health", "nullTweetIds"), Some(0.0));
    assert!(value("healer_check_findings", "stuck-posts").is_some() && value("healer_actions", "applied").is_some());
    assert!(value("healer_alerts_open", "critical").is_some_and(|open| open >= 1.0));
    assert!(value("healer_check_status", "browser-queue").is_none(), "what is unknown is not told: {text}");
    let mut keys: Vec<String> = found.iter().map(|(name, labels, _)| format!("{name}{labels:?}")).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "no sample twice");
    let Some(promtool) = program(&["promtool"]) else { return };
    let (code, said) = fed(&promtool, &["check", "metrics"], &text);
    assert_eq!((code, said.as_str()), (0, ""), "{text}");
}

fn fed(program: &Path, arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("it ends");
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (ended.status.code().unwrap_or(-1), said)
}

#[test]
fn whoever_reads_the_figures_while_they_are_written_sees_a_whole_file() {
    let database = lived_in(Shape::Minimal);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("healer.prom");
    let write = || -> Ran {
        Healer::on(&database, &["report", "--format", "prometheus", "--output", &path.display().to_string()]).run()
    };
    write();
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                write();
            }
            writing.store(false, std::sync::atomic::Ordering::SeqCst);
        });
        let mut reads = 0;
        while writing.load(std::sync::atomic::Ordering::SeqCst) {
            let text = std::fs::read_to_string(&path).expect("always there");
            assert!(text.ends_with('\n') && samples(&text).len() > 10, "{text}");
            reads += 1;
        }
        assert!(reads > 0);
    });
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("read").collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn the_example_rules_are_valid_and_the_dashboard_asks_for_figures_that_there_are() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let database = lived_in(Shape::Full);
    let text = Healer::on(&database, &["report", "--format", "prometheus"]).run().stdout;
    let told: std::collections::BTreeSet<String> = samples(&text).into_iter().map(|(name, _, _)| name).collect();
    let named = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("healer_"))
            .map(str::to_owned)
            .collect()
    };
    let dashboard = std::fs::read_to_string(deploy.join("grafana/healer.json")).expect("the dashboard");
    let document: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    assert!(document["panels"].as_array().is_some_and(|panels| panels.len() >= 6));
    let rules = std::fs::read_to_string(deploy.join("prometheus/healer.rules.yml")).expect("the rules");
    for name in named(&dashboard).iter().chain(&named(&rules)) {
        assert!(told.contains(name), "{name} is in no report");
    }
    let Some(promtool) = program(&["promtool"]) else { return };
    let path = deploy.join("prometheus/healer.rules.yml").display().to_string();
    let (code, said) = fed(&promtool, &["check", "rules", &path], "");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_nagios_line_has_the_figures_of_the_checks() {
    let database = lived_in(Shape::Full);
    let ran = Healer::on(&database, &["report", "--nagios"]).run();
    let (words, figures) = ran.stdout.split_once(" | ").unwrap_or_else(|| panic!("{}", ran.stdout));
    assert!(words.starts_with("HEALER CRITICAL - "), "{words}");
    assert!(figures.contains("'stuck-posts'=") && figures.contains("'browser-queue'=U;;;0"), "{figures}");
    assert_eq!(ran.code, Some(2));
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn a_report_of_performance_is_not_well_where_a_check_of_the_last_run_was_not() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    let watched = ["report", "performance", "--nagios", "--fail-on", "warning"];
    Healer::on(&database, &["optimize", "performance"]).run().expect(0);
    let well = Healer::on(&database, &watched).run().expect(0);
    assert!(well.stdout.starts_with("HEALER OK - "), "what has no source is no news: {}", well.stdout);
    database.run(
        "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at, scheduled_at, posted_at)
         SELECT 'p' || n, 'x', CASE WHEN n <= 8 THEN 'posted' ELSE 'failed' END, now() - interval '9 hours', now() - interval '2 hours',
                now() - interval '2 hours', CASE WHEN n <= 8 THEN now() - interval '2 hours' END FROM generate_series(1, 20) AS n",
    );
    Healer::on(&database, &["optimize", "performance"]).run().expect(0);
    let ran = Healer::on(&database, &watched).run().expect(1);
    assert!(ran.stdout.starts_with("HEALER WARNING - warning at the last run: posting;"), "{}", ran.stdout);
    Healer::on(&database, &["report", "performance", "--fail-on", "warning"]).run().expect(4);
    let ran = Healer::on(&database, &["report", "performance", "--quiet"]).run().expect(0);
    assert!(ran.stdout.contains("posting"), "{}", ran.stdout);
    let told = Healer::on(&database, &["report", "performance", "--format", "json"]).run().expect(0).json();
    let posting = told["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "posting"));
    assert_eq!(posting.map(|check| &check["status"]), Some(&json!("warning")), "{told:#}");
    let text = Healer::on(&database, &["report", "performance"]).run().expect(0).stdout;
    assert!(text.contains("warning: posting: 40 % of 20 finished posts"), "{text}");
    let whole = Healer::on(&database, &["report", "--format", "json"]).run().json();
    assert!(whole["verdict"].as_str().is_some_and(|line| line.contains("look at performance")), "{whole:#}");
    // Checks that were well in the run before, and that a query kept from being measured in the last one.
    database.run("CREATE SEQUENCE public.held");
    let mut other = database.client();
    other.batch_execute("BEGIN; ALTER SEQUENCE public.held CACHE 2").expect("locked");
    Healer::on(&database, &["optimize", "performance"]).run().expect(3);
    other.batch_execute("ROLLBACK").expect("let go");
    let ran = Healer::on(&database, &watched).run().expect(3);
    let words = "warning at the last run: posting, not measured at the last run: capacity-forecast, hygiene;";
    assert!(ran.stdout.starts_with(&format!("HEALER UNKNOWN - {words}")), "{}", ran.stdout);
}

#[test]
fn a_report_of_content_is_not_well_where_an_earlier_change_did_harm() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    let ran = |checks: &Value| {
        database.run(&format!(
            "INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, checks)
             VALUES ('optimize-content', 'optimize content', 'x', clock_timestamp(), clock_timestamp(), 'ok', 0, '{checks}')"
        ));
    };
    database.run("INSERT INTO healer.content_weights (generators) VALUES ('{\"coach\": 0.6, \"poet\": 0.4}')");
    let watched = ["report", "content", "--nagios"];
    ran(&json!([{ "name": "earlier-changes", "status": "ok", "found": 0, "summary": "none did harm" }]));
    assert!(Healer::on(&database, &watched).run().expect(0).stdout.starts_with("HEALER OK - "));
    let harmed = "run 12: the change of generators HARMED: healer undo 12 takes it back";
    ran(&json!([{ "name": "earlier-changes", "status": "warning", "found": 1, "summary": harmed }]));
    let told = Healer::on(&database, &watched).run().expect(1);
    assert!(told.stdout.starts_with("HEALER WARNING - warning at the last run: earlier-changes;"), "{}", told.stdout);
    let text = Healer::on(&database, &["report", "content"]).run().expect(0).stdout;
    assert!(text.replace("\n  ", " ").contains(harmed), "{text}");
    // The change was taken back, and the next run says so.
    ran(&json!([{ "name": "generators", "status": "ok", "found": 0, "summary": "no change" }]));
    Healer::on(&database, &watched).run().expect(0);
}

#[test]
fn a_report_of_errors_is_not_well_where_its_pass_could_not_read_or_found_too_many() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run("INSERT INTO healer.setting (name, value) VALUES ('error_analysis', '{\"system_health\": 95}')");
    let told = |exit_code: i32, check: &Value| {
        database.run(&format!(
            "INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, checks)
             VALUES ('analyze-errors', 'analyze-errors', 'x', clock_timestamp(), clock_timestamp(), 'ok', {exit_code}, '[{check}]')"
        ));
        Healer::on(&database, &["report", "errors", "--nagios"]).run()
    };
    let sources = |status: &str| json!({ "name": "error-sources", "status": status, "found": null, "summary": "x" });
    assert!(told(0, &sources("ok")).expect(0).stdout.starts_with("HEALER OK - 0 errors"));
    assert!(told(0, &sources("unknown")).expect(0).stdout.starts_with("HEALER OK - "), "there is no source");
    let unread = told(3, &sources("unknown")).expect(3).stdout;
    assert!(unread.starts_with("HEALER UNKNOWN - not measured at the last run: error-sources;"), "{unread}");
    let many = json!({ "name": "error-frequency", "status": "warning", "found": 1, "summary": "x" });
    let many = told(0, &many).expect(1).stdout;
    assert!(many.starts_with("HEALER WARNING - warning at the last run: error-frequency;"), "{many}");
}

#[test]
fn open_alerts_are_counted_all_however_few_are_listed() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    let open = |severity: &str| -> String {
        let text = Healer::on(&database, &["report", "--format", "prometheus"]).run().stdout;
        let name = format!("healer_alerts_open{{severity=\"{severity}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    assert_eq!(["critical", "error", "warning", "info"].map(open), ["0"; 4]);
    database.run(
        "INSERT INTO healer.alert (fingerprint, pass, key, severity, title, detail, next_step, opened_at, last_seen, resolved_at)
         SELECT severity || n, 'heal', severity || n, severity, 'x', 'x', 'x', now() - interval '1 hour', now(), NULL
           FROM (VALUES ('critical', 20), ('warning', 15), ('info', 2)) AS v (severity, many) CROSS JOIN generate_series(1, many) AS n
         UNION ALL SELECT 'over', 'heal', 'over', 'warning', 'x', 'x', 'x', now() - interval '1 hour', now(), now()",
    );
    assert_eq!(["critical", "error", "warning", "info"].map(open), ["20", "0", "15", "2"]);
    let told = Healer::on(&database, &["report", "--format", "json"]).run().json();
    assert_eq!((&told["alertsTotal"], told["alerts"].as_array().map(Vec::len)), (&json!(37), Some(20)), "{told:#}");
    assert!(told["verdict"].as_str().is_some_and(|line| line.starts_with("37 alerts open (20 grave)")), "{told:#}");
}
