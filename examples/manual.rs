//! Writes the man pages and the completion scripts, from the same types that read the command line. They are made for
//! the package only: nothing of it is in the binary.
//!
//!     cargo run --example manual -- target/package

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use healer::cli::Cli;
use healer::manual::{self, Entry};

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "target/package".into());
    let directory = Path::new(&directory);
    pages(&directory.join("man"))?;
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "healer", &completions)?;
    }
    Ok(())
}

/// `healer.1`, and a page for each command.
fn pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // Without the sandbox: the package has none.
    let mut command = Cli::command().after_long_help(None).after_help(None).disable_help_subcommand(true);
    if cfg!(feature = "sandbox") {
        command = command.mut_arg("sandbox", |arg| arg.hide(true));
    }
    command.build();
    let source = format!("healer {}", env!("CARGO_PKG_VERSION"));
    let page = |command: &clap::Command| Man::new(command.clone()).source(source.clone()).manual("healer");

    let mut text = Vec::new();
    let main = page(&command);
    main.render_title(&mut text)?;
    main.render_name_section(&mut text)?;
    main.render_synopsis_section(&mut text)?;
    main.render_description_section(&mut text)?;
    main.render_subcommands_section(&mut text)?;
    main.render_options_section(&mut text)?;
    for (title, entries) in [
        ("EXIT STATUS", manual::EXIT_CODES),
        ("ENVIRONMENT", manual::ENVIRONMENT),
        ("FILES", manual::FILES),
        ("WORDS", manual::WORDS),
        ("EXAMPLES", manual::EXAMPLES),
    ] {
        section(title, entries).to_writer(&mut text)?;
    }
    let mut more = Roff::new();
    more.control("SH", ["SEE ALSO"]);
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .map(|sub| format!("healer-{}(1)", sub.get_name()))
        .collect();
    more.text([roman(format!("{}. The handbook: /usr/share/doc/healer.", names.join(", ")))]);
    more.to_writer(&mut text)?;
    fs::write(directory.join("healer.1"), text)?;

    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = format!("healer-{}", sub.get_name());
        // The options of every command stand in healer(1).
        let bin_name = format!("healer {}", sub.get_name());
        let mut sub = sub.clone().name(name.clone().leak() as &str).bin_name(bin_name);
        let global: Vec<clap::Id> =
            sub.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().clone()).collect();
        for id in global {
            sub = sub.mut_arg(id, |arg| arg.hide(true));
        }
        let examples = section("EXAMPLES", manual::examples(sub.get_name().trim_start_matches("healer-")));
        let sub = sub.after_long_help("The options of every command, exit codes and environment: healer(1).");
        let mut text = Vec::new();
        page(&sub).render(&mut text)?;
        examples.to_writer(&mut text)?;
        fs::write(directory.join(format!("{name}.1")), text)?;
    }
    Ok(())
}

fn section(title: &str, entries: &[Entry]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    // The package has no sandbox.
    for (name, says) in entries.iter().filter(|(name, _)| !name.contains("--sandbox")) {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*says)]);
    }
    roff
}
