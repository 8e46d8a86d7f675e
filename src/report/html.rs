//! `--format html`: one page that needs nothing beside it. No script, no font, no image, no inline style: it works from a
//! file and under a policy that forbids all of these. Whatever comes from the database is text there, never markup.

use std::fmt::Write as _;

use ring::digest;

use super::health;
use super::part::Block;
use super::whole::Whole;
use crate::heal::ago;

/// The page's style. Its hash stands in the page's own policy: no other style is taken.
const STYLE: &str = include_str!("style.css");

/// Text as it may stand in HTML, also in an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither may stand in a page, and some would turn the direction of what follows.
            c if c.is_control() && c != '\n' => out.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The style's hash as a policy names it.
fn style_hash() -> String {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    format!("sha256-{}", base64(hash.as_ref()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number = (u32::from(chunk[0]) << 16)
            | (u32::from(chunk.get(1).copied().unwrap_or(0)) << 8)
            | u32::from(chunk.get(2).copied().unwrap_or(0));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(DIGITS[(number >> (18 - 6 * place) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The page.
pub fn page(whole: &Whole) -> String {
    let grave = whole.alerts.iter().flatten().any(|alert| matches!(alert.severity.as_str(), "critical" | "error"));
    let state = if grave || whole.too_old() {
        "critical"
    } else if whole.well() {
        "ok"
    } else {
        "warning"
    };
    let mut out = String::with_capacity(65_536);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>healer: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        style_hash(),
        escape(&whole.verdict)
    );
    let _ = write!(
        out,
        "<header class=\"{state}\">\n<h1>healer</h1>\n<p class=\"verdict\"><span class=\"pill t-{state}\">{}</span> {}</p>\n<p class=\"when\">as of {}</p>\n",
        match state {
            "critical" => "act now",
            "warning" => "have a look",
            _ => "well",
        },
        escape(&whole.verdict),
        escape(&whole.database_time)
    );
    out.push_str("<nav aria-label=\"parts\">");
    for part in whole.parts.iter().filter(|part| part.has_data) {
        let _ = write!(out, "<a href=\"#{0}\">{0}</a> ", part.name);
    }
    out.push_str("<a href=\"#runs\">runs</a></nav>\n</header>\n<main>\n");
    passes(whole, &mut out);
    alerts(whole, &mut out);
    let charts = whole.charts();
    if !charts.is_empty() {
        let since = whole.trends.as_ref().map_or(0, |trends| trends.since_seconds);
        let _ = writeln!(out, "<section id=\"trends\"><h2>Trends <small>the last {}</small></h2>", ago(since));
        blocks(&charts, &mut out);
        out.push_str("</section>\n");
    }
    for part in whole.parts.iter().filter(|part| part.has_data) {
        let _ = writeln!(
            out,
            "<section id=\"{0}\"><h2>{0}</h2>\n<p class=\"verdict\">{1}</p>",
            part.name,
            escape(&part.verdict)
        );
        blocks(&part.blocks, &mut out);
        for note in &part.notes {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
        }
        out.push_str("</section>\n");
    }
    out.push_str("<section id=\"runs\"><h2>Last runs</h2>\n");
    blocks(&[health::runs_block(&whole.runs)], &mut out);
    out.push_str("</section>\n");
    for note in &whole.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    let _ = write!(out, "</main>\n<footer>healer {}</footer>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION"));
    out
}

fn passes(whole: &Whole, out: &mut String) {
    if whole.last_success.is_empty() {
        return;
    }
    out.push_str("<section id=\"passes\" aria-label=\"passes\"><ul class=\"cards\">\n");
    for pass in &whole.last_success {
        let (tone, words) = match (pass.age_seconds, pass.last_exit_code) {
            (Some(age), Some(0 | 4)) => ("ok", format!("completed {} ago", ago(age))),
            (Some(age), _) => ("warning", format!("completed {} ago", ago(age))),
            (None, _) => ("unknown", "never completed".to_owned()),
        };
        let exit = pass.last_exit_code.map(|code| format!("last exit {code}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "<li class=\"card t-{tone}\"><strong>{}</strong><span>{}</span><small>{exit}</small></li>",
            escape(&pass.pass),
            escape(&words)
        );
    }
    out.push_str("</ul></section>\n");
}

fn alerts(whole: &Whole, out: &mut String) {
    let Some(alerts) = whole.alerts.as_ref().filter(|alerts| !alerts.is_empty()) else { return };
    let _ = writeln!(
        out,
        "<section id=\"alerts\"><h2>Open alerts <small>{}</small></h2>\n<ul class=\"alerts\">",
        whole.alerts_total
    );
    for alert in alerts {
        let tone = match alert.severity.as_str() {
            "critical" | "error" => "critical",
            "warning" => "warning",
            _ => "unknown",
        };
        let told = alert.told_seconds.map_or_else(|| "told to nobody".into(), |age| format!("told {} ago", ago(age)));
        let _ = writeln!(
            out,
            "<li class=\"alert t-{tone}\"><span class=\"pill t-{tone}\">{}</span> <strong>{}</strong>\
             <small>open for {}, {told}</small><code>{}</code></li>",
            escape(&alert.severity),
            escape(&alert.title),
            ago(alert.age_seconds),
            escape(&alert.next_step)
        );
    }
    out.push_str("</ul>\n");
    let more = whole.alerts_total.saturating_sub(alerts.len().try_into().unwrap_or_default());
    if more > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">and {more} less grave ones: SELECT * FROM healer.alert WHERE resolved_at IS NULL</p>"
        );
    }
    for channel in &whole.channels {
        let _ = writeln!(
            out,
            "<p class=\"note\">channel {} fails since {}: {}</p>",
            escape(&channel.name),
            ago(channel.since_seconds),
            escape(channel.error.as_deref().unwrap_or("no reason known"))
        );
    }
    out.push_str("</section>\n");
}

/// Blocks in their order; pictures that follow each other share a row where there is room.
fn blocks(blocks: &[Block], out: &mut String) {
    let mut in_charts = false;
    for block in blocks {
        let is_chart = matches!(block, Block::Chart(_) | Block::NoChart(..));
        if is_chart != in_charts {
            out.push_str(if is_chart { "<div class=\"charts\">\n" } else { "</div>\n" });
            in_charts = is_chart;
        }
        match block {
            Block::Text(text) => {
                let _ = writeln!(out, "<p>{}</p>", escape(text));
            }
            Block::Chart(chart) if chart.is_empty() => no_chart(&chart.title, "Nothing was measured yet.", out),
            Block::Chart(chart) => out.push_str(&chart.html()),
            Block::NoChart(title, why) => no_chart(title, why, out),
            Block::Table(caption, header, rows) => table(caption, header, rows, out),
        }
    }
    if in_charts {
        out.push_str("</div>\n");
    }
}

/// What stands in the place of a picture that would be empty.
fn no_chart(title: &str, why: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "<figure class=\"chart\">\n<figcaption>{}</figcaption>\n<p class=\"note\">{}</p>\n</figure>",
        escape(title),
        escape(why)
    );
}

/// Letters of a cell that stay in one line, also on a telephone.
const SHORT: usize = 16;

/// Letters from which a cell is a sentence.
const LONG: usize = 40;

fn table(caption: &str, header: &[String], rows: &[Vec<String>], out: &mut String) {
    let _ = write!(
        out,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
        escape(caption)
    );
    for name in header {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let tone = match cell.as_str() {
                "ok" => " class=\"short t-ok\"",
                "warning" | "partial" => " class=\"short t-warning\"",
                "critical" | "failed" | "abandoned" => " class=\"short t-critical\"",
                "unknown" => " class=\"short t-unknown\"",
                // A word, a number, a time: broken in two it would be hard to read.
                short if short.chars().count() <= SHORT => " class=\"short\"",
                // A sentence: the table scrolls aside before it becomes a column of syllables.
                long if long.chars().count() > LONG => " class=\"long\"",
                _ => "",
            };
            let _ = write!(out, "<td{tone}>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_the_database_is_text() {
        assert_eq!(
            escape("<script>alert('x')</script> & \"y\""),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"
        );
        assert_eq!(escape("a\u{202e}b\u{0}c"), "a b c");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_style_brings_nothing_from_elsewhere() {
        for word in ["url(", "@import", "http", "</style"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
