//! `syncline verify`: check that what is stored is what it claims to be.

use syncline_base::Kind;
use syncline_node::ops::verify::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::Page;
use crate::units;

/// How many damaged places are listed.
const DAMAGE_SHOWN: usize = 50;
/// How many touched places are listed.
const TOUCHED_SHOWN: usize = 20;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline verify\n  syncline verify --deep\n\n\
                        The exit code is 7 when something is damaged; `syncline repair --from URL` mends it.")]
pub(crate) struct Args {
    /// Decode and hash every byte, not only the structure
    #[arg(long)]
    deep: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { deep: args.deep };
    let report = context.ask("verify", &request, |replica, progress| verify::run(replica, &request, &**progress))?;
    context.out.answer(&report, |page| show(page, &report))?;
    Ok((!report.sound).then_some(Kind::Corrupt))
}

/// What was found.
pub(crate) fn show(page: &mut Page, report: &Report) {
    page.line(format!(
        "{}: checked {}, {} ({}) in {}{}",
        if report.sound { "sound" } else { "DAMAGED" },
        units::counted(report.versions, "version", "versions"),
        units::counted(report.objects, "object", "objects"),
        units::bytes(report.bytes),
        units::seconds(report.seconds),
        if report.deep { ", every byte" } else { ", structure only" },
    ));
    if let Some(root) = report.root {
        page.line(format!("root {root}"));
    }
    if report.absent > 0 {
        let contents = units::counted(report.absent, "content of a file is", "contents of files are");
        page.line(format!("{contents} elsewhere by intention: this is a partial replica"));
    }
    for damage in report.damage.iter().take(DAMAGE_SHOWN) {
        let objects = units::counted(damage.objects.len() as u64, "object", "objects");
        page.line(format!("damaged: {}: {} ({objects})", damage.file, damage.reason));
    }
    if report.damage.len() > DAMAGE_SHOWN {
        page.line(format!("and {} more; --json lists them", report.damage.len() - DAMAGE_SHOWN));
    }
    for touched in report.touched.iter().take(TOUCHED_SHOWN) {
        let tree = touched.tree.as_ref().map_or_else(|| "the version itself".to_owned(), ToString::to_string);
        let names = if touched.names.is_empty() { String::new() } else { format!(" ({})", touched.names.join(", ")) };
        page.line(format!("touches {}{names}, {tree}: {}", touched.commit.short(), touched.rows));
    }
    if report.touched.len() > TOUCHED_SHOWN {
        page.line(format!("and {} more places; --json lists them", report.touched.len() - TOUCHED_SHOWN));
    }
    if !report.sound {
        page.line("mend it with `syncline repair --from URL`, where URL is another copy");
    }
}

#[cfg(test)]
mod tests {
    use syncline_node::ops::verify::Damage;

    use super::*;

    #[test]
    fn much_damage_is_counted_and_not_listed() {
        let one = Damage { file: "packs/1".into(), reason: "it is gone".into(), objects: Vec::new() };
        let report = Report { damage: vec![one; DAMAGE_SHOWN + 7], ..Report::default() };
        let mut page = Page::default();
        show(&mut page, &report);
        let text = page.finish();
        assert_eq!(text.matches("packs/1").count(), DAMAGE_SHOWN);
        assert!(text.contains("and 7 more"), "{text}");
    }
}
