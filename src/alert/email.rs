//! E-mail by SMTP: plain text, one message a pass.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};

use super::channel::{Delivery, Way};
use super::http::{Failure, LIMIT, RETRIES};
use super::model::{Message, Why, cut, disarmed};
use super::settings::MailTls;

/// Characters of a subject: what a list of mails shows of it, and below what a header line may hold.
const SUBJECT: usize = 200;
/// Characters of the text of one alert.
const ALERT: usize = 4_000;
/// Alerts that a mail lists.
const LISTED: usize = 50;

/// Says that a machine wrote it, so that no machine answers.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// Sends a message.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    Delivery::of_all(message, send(way, message))
}

fn send(way: &Way<'_>, message: &Message) -> Result<(), Failure> {
    let settings = way.settings;
    let address = |text: &str| text.parse::<Mailbox>().map_err(|_| Failure::new("an address of the mail is not valid"));
    let mut mail = lettre::Message::builder()
        .from(address(settings.from.as_deref().unwrap_or_default())?)
        .subject(cut(&disarmed(&message.title()).replace('\n', " "), SUBJECT))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for to in &settings.to {
        mail = mail.to(address(to)?);
    }
    let mail = mail.body(body(message)).map_err(|_| Failure::new("the mail could not be put together"))?;
    let transport = transport(way)?;
    let mut tries = 0;
    let mut wait = Duration::from_millis(500);
    loop {
        let Err(error) = transport.send(&mail) else { return Ok(()) };
        let host = settings.host.as_deref().unwrap_or_default();
        let words = format!("{host}: {}", said(&error));
        let again = !error.is_permanent() && !error.is_tls() && !error.is_client();
        if !again || tries == RETRIES || !way.may_wait(wait) {
            return Err(Failure::new(words));
        }
        std::thread::sleep(wait);
        wait *= 2;
        tries += 1;
    }
}

fn said(error: &lettre::transport::smtp::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", LIMIT.as_secs());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(&format!(": {words}"));
        }
        source = inner.source();
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect();
    crate::errors::secrets::mask(&text)
}

fn transport(way: &Way<'_>) -> Result<SmtpTransport, Failure> {
    let settings = way.settings;
    let host = settings.host.clone().unwrap_or_default();
    let parameters = || {
        let mut builder = TlsParameters::builder(host.clone());
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::new(format!("{} cannot be read: {}", path.display(), error.kind())))?;
            let bad = || Failure::new(format!("{} holds no certificate in PEM", path.display()));
            builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|_| bad())?);
        }
        builder.build().map_err(|_| Failure::new("TLS cannot be set up"))
    };
    let (tls, usual) = match settings.tls {
        MailTls::StartTls => (Tls::Required(parameters()?), 587),
        MailTls::Tls => (Tls::Wrapper(parameters()?), 465),
        MailTls::None => (Tls::None, 25),
    };
    let mut builder =
        SmtpTransport::builder_dangerous(host).port(settings.port.unwrap_or(usual)).tls(tls).timeout(Some(LIMIT));
    if let (Some(user), Some(password)) = (&settings.username, way.key()?) {
        builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Ok(builder.build())
}

fn body(message: &Message) -> String {
    let mut out = format!("{}\n\n", disarmed(&message.title()));
    for item in message.items.iter().take(LISTED) {
        let alert = &item.alert;
        out.push_str(&format!("{}  {}\n  {}\n", item.label(), disarmed(&alert.title), item.since(message.at)));
        if item.why != Why::Resolved {
            for line in cut(&disarmed(alert.detail.trim()), ALERT).lines() {
                out.push_str(&format!("  {line}\n"));
            }
            if !alert.next_step.is_empty() {
                out.push_str(&format!("  -> {}\n", disarmed(&alert.next_step)));
            }
        }
        out.push('\n');
    }
    if message.items.len() > LISTED {
        out.push_str(&format!("... and {} more: healer report\n\n", message.items.len() - LISTED));
    }
    let run = message.run_id.map(|run| format!(", run {run}")).unwrap_or_default();
    out.push_str(&format!("-- \nhealer {}{run} at {}\n", message.pass, message.at.format("%Y-%m-%d %H:%M:%S UTC")));
    out
}
